package verify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
	"github.com/segment-to-launchdarkly/forwarder/consumer"
	"github.com/segment-to-launchdarkly/forwarder/sink"
)

const (
	requestTimeout = 10 * time.Second
	maxBodyBytes   = 64 << 20
)

// Replicas returns the content of /delivered.json of each replica. An address is a base URL or
// host:port. A host of an address without https stands for all of its IP addresses. A replica with
// several addresses is returned once.
func Replicas(ctx context.Context, addresses []string) (replicas []app.Delivered, err error) {
	// Replicas are in the local network, so HTTPS_PROXY and HTTP_PROXY do not apply.
	transport := &http.Transport{TLSHandshakeTimeout: requestTimeout}
	defer transport.CloseIdleConnections()
	for _, address := range addresses {
		all, err := resolve(ctx, address)
		if err != nil {
			return nil, err
		}
		for _, u := range all {
			var d app.Delivered
			if err := getJSON(ctx, transport, u.JoinPath("delivered.json"), requestTimeout, &d); err != nil {
				return nil, fmt.Errorf("replica %s: %w", u.Host, err)
			}
			known := func(other app.Delivered) bool { return other.Replica == d.Replica && other.Since.Equal(d.Since) }
			if !slices.ContainsFunc(replicas, known) {
				replicas = append(replicas, d)
			}
		}
	}
	return replicas, nil
}

// resolve returns the URL of each IP address of a replica's address.
func resolve(ctx context.Context, address string) ([]*url.URL, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, errors.New("--replica: must be host:port or a URL, such as http://localhost:9464")
	}
	if u.Scheme == "https" { // the certificate is for the name
		return []*url.URL{u}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupHost(ctx, u.Hostname())
	if err != nil {
		return nil, fmt.Errorf("replica %s: %w", u.Host, advised(err, "--replica"))
	}
	return expand(u, ips), nil
}

// expand returns a URL for each IP address of u's host. A host of this machine remains as it is,
// because localhost can have an address on which the replica does not listen.
func expand(u *url.URL, ips []string) (urls []*url.URL) {
	if !slices.ContainsFunc(ips, func(ip string) bool { return !net.ParseIP(ip).IsLoopback() }) {
		return []*url.URL{u}
	}
	for _, ip := range slices.Sorted(slices.Values(ips)) {
		resolved := *u
		resolved.Host = net.JoinHostPort(ip, cmp.Or(u.Port(), "80"))
		urls = append(urls, &resolved)
	}
	return urls
}

// FromReplicas returns the deliveries in the given hours. Hours are incomplete if a replica started
// to count after the start of the hour, or no longer has it.
func FromReplicas(replicas []app.Delivered, hours []time.Time, now time.Time) (d Deliveries) {
	kept := now.UTC().Truncate(time.Hour).Add(-consumer.DeliveredFor)
	for _, r := range replicas {
		d.Hours = append(d.Hours, r.Hours...)
		for _, hour := range hours {
			switch {
			case hour.Before(kept):
				d.incomplete(hour, "replicas keep the last 7 days")
			case hour.Before(r.Since):
				d.incomplete(hour, fmt.Sprintf("replica %s started at %s", r.Replica, r.Since.Format(time.RFC3339)))
			}
		}
	}
	return d
}

// getJSON sends a GET request and decodes the response. The error describes how to fix the
// problem, if that is known.
func getJSON(
	ctx context.Context, transport http.RoundTripper, u *url.URL, timeout time.Duration, response any,
) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	if user := u.User; user != nil {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return advised(err, "the address")
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBodyBytes))
	if err != nil {
		return fmt.Errorf("read the response: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("responded with %s: %s", resp.Status, excerpt(body))
	}
	if err := json.Unmarshal(body, response); err != nil {
		return fmt.Errorf("decode the response: %w", err)
	}
	return nil
}

// advised adds advice on a failed connection to err. key is where the address comes from.
func advised(err error, key string) error {
	if advice := sink.NetworkAdvice(err, key, "the CA certificates trusted by this host"); advice != "" {
		return fmt.Errorf("%w. %s", err, strings.TrimRight(advice, "."))
	}
	return err
}

// excerpt returns the start of a response body in one line.
func excerpt(body []byte) string {
	text := strings.Join(strings.Fields(string(body[:min(len(body), 300)])), " ")
	return strings.ToValidUTF8(text, "")
}
