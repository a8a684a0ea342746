package config

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.yaml.in/yaml/v3"
)

const sentinel = "hunter2hunter2"

func TestSecretsAreNeverPrinted(t *testing.T) {
	env := slices.Clone(required)
	secrets := 0
	for _, f := range fields(defaults()) {
		if f.secret {
			value := sentinel
			if f.v.Kind() == reflect.Map {
				value = "name=" + sentinel
			}
			env = append(env, f.env()+"="+value)
			secrets++
		}
	}
	c, err := LoadFor(DryRun, "", env) // some secrets exclude others
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := c.WriteEffective(&out); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), redacted); got != secrets {
		t.Errorf("%d secrets redacted, want %d", got, secrets)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		fmt.Fprintf(&out, verb+verb+verb+"\n", c, c.Kafka.SASL, &c.LaunchDarkly.AccessToken)
	}
	for _, encode := range []func(any) ([]byte, error){json.Marshal, yaml.Marshal} {
		b, err := encode(c)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	b, err := xml.Marshal([]Secret{c.Kafka.SASL.Password, c.Kafka.SASL.OAuth.ClientSecret})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	for _, encoder := range []zapcore.Encoder{
		zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()),
		zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()),
	} {
		log := zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&out), zap.DebugLevel))
		log.Info("configuration", zap.Any("config", c), zap.Reflect("sasl", c.Kafka.SASL),
			zap.Any("token", c.LaunchDarkly.AccessToken))
		log.Sugar().Infow("configuration", "config", c, "token", c.Kafka.SASL.Token)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("configuration", "config", c)
	slog.New(slog.NewTextHandler(&out, nil)).Info("configuration", "config", c)

	encoded := hex.EncodeToString([]byte(sentinel))
	for _, form := range []string{sentinel, encoded, strings.ToUpper(encoded)} {
		if i := strings.Index(out.String(), form); i >= 0 {
			t.Errorf("a secret is printed: %.120s", out.String()[max(0, i-60):])
		}
	}
}

func TestSecretIsReadAgainFromItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	s := Secret{File: path}
	for content, want := range map[string]string{
		"one": "one", "two\n": "two", "three\r\n": "three", "four\n\n": "four", " five ": " five ",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Read(); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", content, got, err, want)
		}
	}
	if got, err := (Secret{Value: "six\r\n"}).Read(); err != nil || got != "six" {
		t.Errorf("inline: %q, %v", got, err)
	}
	if err := os.WriteFile(path, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(); err == nil {
		t.Error("an empty file: want an error")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(); err == nil {
		t.Error("no file: want an error")
	}
	if got, err := (Secret{Value: "v"}).Read(); err != nil || got != "v" {
		t.Errorf("%q, %v", got, err)
	}
}
