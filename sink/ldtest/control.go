package ldtest

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// Control returns a handler that steers the fake from another process:
//
//	GET  /report                  the Report
//	POST /script                  body: ["503","cut-off,taken"], see ParseFault
//	POST /random?seed=1&rate=0.1  body: as above, or empty for Passing()
//	POST /down?fault=503
//	POST /up
//	POST /poison?contains=TEXT    without text: none
//	POST /limit?bytes=100000      without a number: Config.MaxBytes
//
// It answers 204, or 400 with the reason. Serve it on a port of its own.
func (s *Server) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /report", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(s.Report()) //nolint:errcheck // the client may be gone
	})
	post := func(path string, do func(r *http.Request) error) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			if err := do(r); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		})
	}
	post("/script", func(r *http.Request) error {
		faults, err := readFaults(r)
		if err == nil {
			s.Script(faults...)
		}
		return err
	})
	post("/random", func(r *http.Request) error {
		seed, err := strconv.ParseUint(r.URL.Query().Get("seed"), 10, 64)
		if err != nil {
			return err
		}
		rate, err := strconv.ParseFloat(r.URL.Query().Get("rate"), 64)
		if err != nil {
			return err
		}
		faults, err := readFaults(r)
		if err == nil {
			s.Random(seed, rate, faults...)
		}
		return err
	})
	post("/down", func(r *http.Request) error {
		fault, err := ParseFault(r.URL.Query().Get("fault"))
		if err == nil {
			s.Down(fault)
		}
		return err
	})
	post("/up", func(*http.Request) error { s.Up(); return nil })
	post("/poison", func(r *http.Request) error {
		if text := r.URL.Query().Get("contains"); text != "" {
			s.Poison(Containing(text))
		} else {
			s.Poison(nil)
		}
		return nil
	})
	post("/limit", func(r *http.Request) error {
		text := r.URL.Query().Get("bytes")
		if text == "" {
			text = "0"
		}
		bytes, err := strconv.ParseUint(text, 10, 31)
		if err == nil {
			s.Limit(int(bytes))
		}
		return err
	})
	return mux
}

// readFaults reads a JSON array of faults; none if the body is empty.
func readFaults(r *http.Request) (faults []Fault, err error) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	return faults, json.NewDecoder(r.Body).Decode(&faults)
}
