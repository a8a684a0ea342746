package main

import (
	"fmt"
	"io"
	"net/http"
	"time"
)

// runProbe is the health check of images without a shell and without curl.
func runProbe(args []string, sys system) error {
	f := newFlags("demo probe", "demo probe URL: succeeds if URL responds with 200 within two seconds.", sys)
	if err := parse(f, args, 1); err != nil {
		return err
	}
	client := http.Client{Timeout: 2 * time.Second}
	answer, err := client.Get(f.Arg(0))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
		return fmt.Errorf("%s: %s", answer.Status, text)
	}
	return nil
}
