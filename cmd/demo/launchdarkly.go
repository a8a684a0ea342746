package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// faults holds the flags for random failures of the fake.
type faults struct {
	on   bool
	rate float64
}

func (x *faults) flags(f *flag.FlagSet) {
	f.BoolVar(&x.on, "faults", false, "make LaunchDarkly fail at random with 429, 5xx, hangs, resets, and truncated responses, before or after it accepts the request")
	f.Float64Var(&x.rate, "fault-rate", 0.2, "`share` of requests that fail with -faults")
}

func (x *faults) check() error {
	if x.rate < 0 || x.rate >= 1 {
		return usageError{errors.New("-fault-rate: must be at least 0 and below 1")}
	}
	return nil
}

func (x *faults) apply(ld *ldtest.Server, seed uint64) {
	if x.on {
		ld.Random(seed, x.rate)
	}
}

// controlPath is the path of the fake's control API.
const controlPath = "/control"

// face returns a handler for the fake and its control API on one port. It does not use
// http.ServeMux, because that cleans paths, and the fake must see them verbatim.
func face(ld *ldtest.Server) http.Handler {
	control := http.StripPrefix(controlPath, ld.Control())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, controlPath+"/") {
			control.ServeHTTP(w, r)
			return
		}
		ld.ServeHTTP(w, r)
	})
}

// serve serves until the server is closed.
func serve(listener net.Listener, handler http.Handler, errorLog io.Writer) *http.Server {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, ErrorLog: log.New(errorLog, "", 0)}
	go server.Serve(listener) //nolint:errcheck // it returns after Close
	return server
}

func runLaunchDarkly(args []string, sys system) error {
	f := newFlags("demo launchdarkly", `Serves a fake LaunchDarkly, which validates requests as strictly as the real one and counts events.
The control API under `+controlPath+` accepts GET report, and POST script, random, down?fault=503, up,
poison?contains=TEXT, and limit?bytes=N. Writes the report as one line of JSON at the end.`, sys)
	listen := f.String("listen", "localhost:8080", "`address` to serve on")
	journal := f.String("journal", "", "`file` that receives a line of JSON for each request")
	var x faults
	x.flags(f)
	seed := f.Uint64("seed", 1, "`seed` of the faults")
	if err := errors.Join(parse(f, args, 0), x.check()); err != nil {
		return err
	}
	cfg := ldtest.Config{}
	if *journal != "" {
		file, err := os.OpenFile(*journal, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		defer file.Close()
		cfg.Journal = file
	}
	ld := ldtest.New(cfg)
	x.apply(ld, *seed)
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	server := serve(listener, face(ld), sys.stderr)
	fmt.Fprintf(sys.stderr, "fake LaunchDarkly at http://%s, client-side ID %s\n", listener.Addr(), ldtest.Sample.ClientSideID)
	<-sys.signals

	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = server.Shutdown(ctx) // Close disconnects clients that hang
	_ = server.Close()
	return json.NewEncoder(sys.stdout).Encode(ld.Report())
}
