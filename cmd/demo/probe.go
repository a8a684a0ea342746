package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"time"
)

// runProbe checks a server's health, for use in images with neither a shell nor curl.
func runProbe(args []string, sys system) error {
	f := newFlags("demo probe", "Exits with status 0 if URL responds with 200 within two seconds.", sys)
	if err := parse(f, args, 1); err != nil {
		return err
	}
	client := http.Client{Timeout: 2 * time.Second}
	response, err := client.Get(f.Arg(0))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return fmt.Errorf("get %s: %s: %s", f.Arg(0), response.Status, bytes.TrimSpace(text))
	}
	return nil
}
