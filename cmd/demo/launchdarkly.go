package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// controlPath is the path prefix of the fake LaunchDarkly's control API.
const controlPath = "/control"

// withControl returns a handler for both the fake LaunchDarkly and its control API. It does not use
// http.ServeMux, which cleans paths, because the fake must see paths verbatim.
func withControl(ld *ldtest.Server) http.Handler {
	control := http.StripPrefix(controlPath, ld.Control())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, controlPath+"/") {
			control.ServeHTTP(w, r)
			return
		}
		ld.ServeHTTP(w, r)
	})
}

// serve starts and returns an HTTP server. The caller must close the server.
func serve(listener net.Listener, handler http.Handler, errorLog io.Writer) *http.Server {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, ErrorLog: log.New(errorLog, "", 0)}
	go server.Serve(listener) //nolint:errcheck // returns only after Close or Shutdown
	return server
}

func runLaunchDarkly(args []string, sys system) error {
	const usage = `Demo launchdarkly serves a fake LaunchDarkly, as strict as the real one, until it receives a signal.
The control API under ` + controlPath + ` accepts GET report, and POST script, random, down?fault=503, up,
poison?contains=TEXT, and limit?bytes=N. At exit, the fake writes its report as one line of JSON.`
	f := newFlags("demo launchdarkly", usage, sys)
	listen := f.String("listen", "localhost:8080", "`address` to serve on")
	if err := parse(f, args, 0); err != nil {
		return err
	}
	ld := ldtest.New(ldtest.Config{})
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	server := serve(listener, withControl(ld), sys.stderr)
	fmt.Fprintf(sys.stderr, "fake LaunchDarkly at http://%s, client-side ID %s\n",
		listener.Addr(), ldtest.Sample.ClientSideID)
	<-sys.signals

	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = server.Shutdown(ctx) // hanging requests are canceled by Close below
	_ = server.Close()
	return json.NewEncoder(sys.stdout).Encode(ld.Report())
}
