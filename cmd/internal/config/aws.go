package config

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/twmb/franz-go/pkg/sasl/aws"
)

// awsCredentials reads the credentials from the standard AWS variables or, if they are not set,
// from the shared credentials file. To assume a role, use another tool that writes this file. The
// Kafka client derives the region from the broker names or, if it cannot, reads AWS_REGION.
func awsCredentials() (aws.Auth, error) {
	auth := aws.Auth{
		AccessKey:    os.Getenv("AWS_ACCESS_KEY_ID"),
		SecretKey:    os.Getenv("AWS_SECRET_ACCESS_KEY"),
		SessionToken: os.Getenv("AWS_SESSION_TOKEN"),
	}
	if auth.AccessKey != "" && auth.SecretKey != "" {
		return auth, nil
	}
	home, _ := os.UserHomeDir()
	path := cmp.Or(os.Getenv("AWS_SHARED_CREDENTIALS_FILE"), filepath.Join(home, ".aws", "credentials"))
	profile := cmp.Or(os.Getenv("AWS_PROFILE"), "default")
	content, err := os.ReadFile(path)
	if err != nil {
		return aws.Auth{}, fmt.Errorf("AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY is not set, "+
			"and the shared credentials file cannot be read: %w", err)
	}
	auth = aws.Auth{}
	section := ""
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = strings.TrimSpace(strings.Trim(line, "[]"))
		}
		key, value, _ := strings.Cut(line, "=")
		if section != profile {
			continue
		}
		switch value = strings.TrimSpace(value); strings.TrimSpace(key) {
		case "aws_access_key_id":
			auth.AccessKey = value
		case "aws_secret_access_key":
			auth.SecretKey = value
		case "aws_session_token":
			auth.SessionToken = value
		}
	}
	if auth.AccessKey == "" || auth.SecretKey == "" {
		return aws.Auth{}, fmt.Errorf("%s: no aws_access_key_id or aws_secret_access_key under [%s]", path, profile)
	}
	return auth, nil
}
