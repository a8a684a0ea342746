package config

import (
	"fmt"
	"os"
	"strings"
)

const redacted = "[redacted]"

// Secret is a credential, set inline or by file. The zero Secret is unset. Printing, logging, or
// encoding a Secret never reveals the credential. To obtain it, call [Secret.Read]. A Secret is
// safe for concurrent use.
type Secret struct {
	Value string // the inline credential
	File  string // path of the file that contains the credential
}

// IsSet reports whether a value or a file is set.
func (s Secret) IsSet() bool { return s.Value != "" || s.File != "" }

// Read returns the credential without trailing line breaks. It reads the file on each call, so that
// a rotated credential takes effect. It returns an error if the file is empty.
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

// String returns "[redacted]" for an inline credential, "file PATH" for a file, or "" for an unset
// Secret.
func (s Secret) String() string {
	switch {
	case s.Value != "":
		return redacted
	case s.File != "":
		return "file " + s.File
	}
	return ""
}

// Format writes the result of String for every verb, so that no verb prints the fields.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalText returns the result of String. The JSON, YAML, and XML encoders and zap call it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
