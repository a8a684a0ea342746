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

// controlPath is the path under which the fake is controlled.
const controlPath = "/control"

// face serves the fake and its control on one port. It uses no http.ServeMux, because that cleans
// paths, and the fake must see them verbatim.
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
	go server.Serve(listener) //nolint:errcheck // Close ends it
	return server
}

func runLaunchDarkly(args []string, sys system) error {
	f := newFlags("demo launchdarkly", `Serves a fake LaunchDarkly, as strict as the real one, until a signal.
The paths under `+controlPath+` control it: GET report; POST script, random, down?fault=503, up, poison?contains=TEXT,
limit?bytes=N. Writes its report as one line of JSON at the end.`, sys)
	listen := f.String("listen", "localhost:8080", "`address` to serve on")
	if err := parse(f, args, 0); err != nil {
		return err
	}
	ld := ldtest.New(ldtest.Config{})
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	server := serve(listener, face(ld), sys.stderr)
	fmt.Fprintf(sys.stderr, "fake LaunchDarkly at http://%s, client-side ID %s\n", listener.Addr(), ldtest.Sample.ClientSideID)
	<-sys.signals

	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = server.Shutdown(ctx) // hanging requests are canceled below
	_ = server.Close()
	return json.NewEncoder(sys.stdout).Encode(ld.Report())
}
