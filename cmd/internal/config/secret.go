package config

import (
	"fmt"
	"os"
	"strings"
)

const redacted = "[redacted]"

// Secret is a credential, given by its value or by the file that holds it; the zero Secret is unset. No way of
// printing, logging or encoding it shows the value: only [Secret.Read] does. It is safe for concurrent use.
type Secret struct {
	Value string
	File  string
}

// IsSet reports whether a value or a file was given.
func (s Secret) IsSet() bool { return s.Value != "" || s.File != "" }

// Read returns the credential, less the line ends after it. It reads the file again at each call, so that a rotated
// secret is picked up; an empty file is an error.
func (s Secret) Read() (string, error) {
	if s.File == "" {
		return strings.TrimRight(s.Value, "\r\n"), nil
	}
	b, err := os.ReadFile(s.File)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	value := strings.TrimRight(string(b), "\r\n")
	if value == "" {
		return "", fmt.Errorf("read secret: %s is empty", s.File)
	}
	return value, nil
}

// String returns "", the file's name, or a mark that hides the value.
func (s Secret) String() string {
	switch {
	case s.Value != "":
		return redacted
	case s.File != "":
		return "file " + s.File
	}
	return ""
}

// Format prints String whatever the verb, so that no verb reaches the fields.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalText returns String. The encoders of JSON, YAML and XML use it, and so does zap.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
