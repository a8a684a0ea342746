package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
)

// replica is a process that runs the program. It stops cleanly when its standard input is closed,
// which also happens when the demo exits.
type replica struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	killed bool          // kill was called
	exited chan struct{} // closed when the process has exited and err is set
	err    error

	mu     sync.Mutex // guards the field below
	latest replicaStatus
}

// replicaStatus is the report that a replica writes every pollInterval, and again before it exits.
type replicaStatus struct {
	Admin      string     // address of the admin server
	Records    int64      // records consumed
	Calls      callCounts // calls in these records
	Retries    int64      // requests that followed a failed attempt
	Partitions int        // partitions assigned
	Batches    int        // sealed batches that are not yet delivered and committed
}

// startReplica starts a replica with the given settings. Its log is written to log.
func startReplica(environ []string, log io.Writer) (*replica, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r := &replica{cmd: exec.Command(self, "replica"), exited: make(chan struct{})}
	r.cmd.Env, r.cmd.Stderr = append(os.Environ(), environ...), log
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		reports := json.NewDecoder(stdout)
		for {
			var s replicaStatus
			if reports.Decode(&s) != nil {
				break
			}
			r.mu.Lock()
			r.latest = s
			r.mu.Unlock()
		}
		r.err = r.cmd.Wait()
		close(r.exited)
	}()
	return r, nil
}

// status returns the latest report. It is zero before the first one.
func (r *replica) status() replicaStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.latest
}

// kill sends SIGKILL, so that the replica exits without a drain or a commit.
func (r *replica) kill() error {
	r.killed = true
	return r.cmd.Process.Kill()
}

func runReplica(args []string, sys system) error {
	const usage = "Runs the program until standard input is closed. The demo uses this command for its replicas."
	if err := parse(newFlags("demo replica", usage, sys), args, 0); err != nil {
		return err
	}
	cfg, err := config.Load("", sys.environ)
	if err != nil {
		return usageError{err}
	}
	program, err := app.New(cfg, newLogger(cfg.Log, sys.stderr), app.Options{})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, sys.stdin)
		stop()
	}()
	exited := make(chan error, 1)
	go func() { exited <- program.Run(ctx) }()

	reports := json.NewEncoder(sys.stdout)
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		if err := reports.Encode(statusOf(program)); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case err := <-exited:
			return errors.Join(err, reports.Encode(statusOf(program)))
		}
	}
}

func statusOf(program *app.App) replicaStatus {
	read, sent := program.Status()
	s := replicaStatus{
		Admin: program.AdminAddress(), Records: read.Records, Calls: read.Calls, Retries: sent.Retries,
		Partitions: len(read.Partitions),
	}
	for _, p := range read.Partitions {
		s.Batches += p.InFlight
	}
	return s
}
