package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"
)

// child is a role in a process of its own, which runs this program or another build of it. The
// parent writes one word per line to the child's standard input, and reads a line of JSON for each.
// The child exits when its input ends, and so with its parent at the latest.
type child struct {
	role   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *json.Decoder
	stderr bytes.Buffer
}

// reply is a child's line.
type reply struct {
	Answer json.RawMessage `json:"answer,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// start starts a child. binary is a build of this program.
func start(ctx context.Context, binary, role string, environ []string, flags ...string) (c *child, err error) {
	c = &child{role: role, cmd: exec.CommandContext(ctx, binary, append([]string{"-role", role}, flags...)...)}
	c.cmd.Env, c.cmd.Stderr = environ, &c.stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = json.NewDecoder(out)
	return c, c.cmd.Start()
}

// patience is how long a child may take to respond.
const patience = 10 * time.Minute

// ask sends a word to the child, waits for its response, and stores that in answer unless answer is
// nil.
func (c *child) ask(word string, answer any) error {
	timer := time.AfterFunc(patience, func() { _ = c.cmd.Process.Kill() })
	defer timer.Stop()
	var r reply
	_, err := fmt.Fprintln(c.in, word)
	if err == nil {
		err = c.out.Decode(&r)
	}
	switch {
	case err != nil:
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait() // until all of stderr is read
		return fmt.Errorf("%s: %s: %w\n%s", c.role, word, err, c.stderr.Bytes()[max(0, c.stderr.Len()-4096):])
	case r.Error != "":
		return fmt.Errorf("%s: %s: %s", c.role, word, r.Error)
	case answer == nil:
		return nil
	}
	return json.Unmarshal(r.Answer, answer)
}

// stop ends the child and returns the CPU that it has used. It may be called more than once.
func (c *child) stop() time.Duration {
	_ = c.in.Close()
	_ = c.cmd.Wait()
	if c.cmd.ProcessState == nil {
		return 0
	}
	return c.cmd.ProcessState.UserTime() + c.cmd.ProcessState.SystemTime()
}

// obey is the child's side. It responds to each word from in until in ends.
func obey(in io.Reader, out io.Writer, words map[string]func() (any, error)) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		word := words[lines.Text()]
		if word == nil {
			return fmt.Errorf("%q is not a word", lines.Text())
		}
		answer, err := word()
		var r reply
		if err != nil {
			r.Error = err.Error()
		} else if r.Answer, err = json.Marshal(answer); err != nil {
			return err
		}
		if err := json.NewEncoder(out).Encode(r); err != nil {
			return errors.Join(err, lines.Err())
		}
	}
	return lines.Err()
}
