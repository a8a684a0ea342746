package config

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

const (
	program     = "segment-to-launchdarkly"
	mskIAM      = "AWS_MSK_IAM"
	dialTimeout = 10 * time.Second // includes the TLS handshake
)

// KafkaOptions returns the options for all Kafka clients: addresses, client ID, rack, TLS, and
// SASL. Certificates and secret files are read again for each new connection. All clients share one
// OAuth token or AWS identity. If a certificate file is invalid or the AWS region is unknown, the
// error is a [Problem].
func (c *Config) KafkaOptions() ([]kgo.Opt, error) {
	k := c.Kafka
	opts := []kgo.Opt{kgo.SeedBrokers(k.Brokers...), kgo.ClientID(k.ClientID)}
	if k.Rack != "" {
		opts = append(opts, kgo.Rack(k.Rack))
	}
	dial := dialReset
	if k.TLS.Enabled {
		if _, err := k.TLS.config(); err != nil {
			return nil, err
		}
		dial = k.TLS.dial
	}
	opts = append(opts, kgo.Dialer(dial))
	m, err := c.mechanism()
	if err != nil {
		return nil, err
	}
	if m != nil {
		opts = append(opts, kgo.SASL(m))
	}
	return opts, nil
}

// KafkaIdentity describes the credentials that were issued to this program for Kafka, without
// secrets. If necessary, it requests them. It returns "" if the configuration contains the
// credentials.
func (c *Config) KafkaIdentity(ctx context.Context) (string, error) {
	switch s := c.Kafka.SASL; {
	case s.Mechanism == mskIAM:
		m, err := c.mskIdentity()
		if err != nil {
			return "", err
		}
		return m.identify(ctx)
	case s.OAuth.TokenURL != "":
		return c.tokens.identify(ctx)
	}
	return "", nil
}

// identityError describes why there are no issued credentials, without secrets. It does not wrap
// the cause, because the Kafka client retries some network errors as if they came from a broker.
type identityError struct{ text, advice string }

func (e *identityError) Error() string { return e.text }

// Advice returns how to fix the problem, in one or more sentences. Package consumer shows it
// instead of advice on brokers.
func (e *identityError) Advice() string { return e.advice }

// KafkaCredentialsProblem describes the failure of the last attempt to obtain an OAuth token or AWS
// credentials, without secrets. It returns "" if the attempt was successful, or if there was none.
func (c *Config) KafkaCredentialsProblem() string {
	failure, old, valid := c.tokens.failing()
	if failure == nil {
		failure, old, valid = c.msk.failing()
	}
	if failure == nil {
		return ""
	}
	text := failure.text + ". " + failure.advice
	if valid = valid.Truncate(time.Second); valid > 0 {
		text += " The old " + old + " valid for another " + durationText(valid) + "."
	}
	return text
}

// dialReset opens a connection that closes with a TCP reset. Without the reset, the kernel can
// retransmit a closed connection's data for minutes, and the broker could then apply an abandoned
// commit after newer ones. The consumer guards against such commits, and the reset makes them rare.
func dialReset(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, addr)
	if tcp, ok := conn.(*net.TCPConn); ok {
		err = tcp.SetLinger(0)
	}
	return conn, err
}

// dial opens a TLS connection with the current content of the certificate files.
func (t TLS) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	cfg, err := t.config()
	if err != nil {
		return nil, err
	}
	if cfg.ServerName == "" {
		if cfg.ServerName, _, err = net.SplitHostPort(addr); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := dialReset(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// config returns a TLS configuration with the current content of the files. The error is a
// [Problem].
func (t TLS) config() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		var err error
		if cfg.RootCAs, err = certPool("kafka.tls.ca_file", t.CAFile); err != nil {
			return nil, err
		}
	}
	if t.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, Problem{Key: "kafka.tls.cert_file", Rule: "cannot load the key pair: " + reason(err)}
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, nil
}

// certPool reads the certificates in the file named by a key. The error is a [Problem].
func certPool(key, path string) (*x509.CertPool, error) {
	return appendCerts(x509.NewCertPool(), key, path)
}

// appendCerts adds the certificates in the file named by a key to pool, and returns pool. The error
// is a [Problem].
func appendCerts(pool *x509.CertPool, key, path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, Problem{Key: key, Rule: unreadable(path, err)}
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, Problem{Key: key, Rule: "no PEM certificate in " + path}
	}
	return pool, nil
}

// mechanism returns the SASL mechanism, or nil if there is none. The mechanism reads the
// credentials for each new connection. If the AWS region is unknown, the error is a [Problem].
func (c *Config) mechanism() (sasl.Mechanism, error) {
	s := c.Kafka.SASL
	scramAuth := func(context.Context) (scram.Auth, error) {
		password, err := s.Password.Read()
		return scram.Auth{User: s.Username, Pass: password}, err
	}
	var m sasl.Mechanism
	switch s.Mechanism {
	case "PLAIN":
		m = plain.Plain(func(context.Context) (plain.Auth, error) {
			password, err := s.Password.Read()
			return plain.Auth{User: s.Username, Pass: password}, err
		})
	case "SCRAM-SHA-256":
		m = scram.Sha256(scramAuth)
	case "SCRAM-SHA-512":
		m = scram.Sha512(scramAuth)
	case "OAUTHBEARER":
		m = oauth.Oauth(func(ctx context.Context) (auth oauth.Auth, err error) {
			auth.Extensions = s.Extensions
			if s.OAuth.TokenURL != "" {
				auth.Token, err = c.tokens.get(ctx)
			} else {
				auth.Token, err = s.Token.Read()
			}
			return auth, err
		})
	case mskIAM:
		return c.mskIdentity()
	}
	return m, nil
}
