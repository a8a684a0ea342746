package ldtest

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// Control returns a handler that lets other processes control the fake:
//
//	GET  /report                  returns the Report
//	POST /script                  body: ["503","cut-off,accepted"], see ParseFault
//	POST /random?seed=1&rate=0.1  body: as above, or empty for TransientFaults
//	POST /down?fault=503
//	POST /up
//	POST /poison?contains=TEXT    no text: poisons no event
//	POST /limit?bytes=100000      no number: restores Config.MaxBytes
//
// The POST routes respond with 204, or with 400 and an error message. Serve the handler on a
// separate port.
func (s *Server) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /report", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(s.Report()) //nolint:errcheck // the client may have disconnected
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

// readFaults reads a JSON array of faults. An empty body means no faults.
func readFaults(r *http.Request) (faults []Fault, err error) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	return faults, json.NewDecoder(r.Body).Decode(&faults)
}
