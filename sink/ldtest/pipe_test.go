package ldtest_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

func TestPipeConnectsUntilItIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := ldtest.NewPipe()
		accepted := make(chan error, 2) // the two calls of Accept
		go func() {
			for range 2 {
				conn, err := pipe.Accept()
				if err == nil {
					conn.Write([]byte("hello")) //nolint:errcheck // the reader detects it
				}
				accepted <- err
			}
		}()
		conn, err := pipe.DialContext(t.Context(), "tcp", "anywhere:80")
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5)
		if n, err := conn.Read(got); err != nil || string(got[:n]) != "hello" {
			t.Errorf("read %q, %v", got[:n], err)
		}
		pipe.Close()
		pipe.Close()
		if first, second := <-accepted, <-accepted; first != nil || !errors.Is(second, net.ErrClosed) {
			t.Errorf("Accept: %v, then %v", first, second)
		}
		if _, err := pipe.DialContext(t.Context(), "tcp", "anywhere:80"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("dialed a closed pipe: %v", err)
		}
	})
}

func TestPipeDialEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ldtest.NewPipe().DialContext(ctx, "tcp", "anywhere:80"); !errors.Is(err, context.Canceled) {
		t.Errorf("dialed without Accept: %v", err)
	}
}
