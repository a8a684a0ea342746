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

// child is a process that runs one role, using this or another build of bench. The parent writes
// one command per line to the child's standard input and reads one line of JSON per command. Builds
// compared with -against must therefore support the same commands. The child exits when its input
// is closed or the parent exits.
type child struct {
	role   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *json.Decoder
	stderr bytes.Buffer
}

// reply is a child's response to a command.
type reply struct {
	Answer json.RawMessage `json:"answer,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// start starts a child from binary, a build of bench.
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

// replyTimeout is how long a child may take to respond.
const replyTimeout = 10 * time.Minute

// ask sends a command to the child and waits for the response. It stores the result in answer
// unless answer is nil.
func (c *child) ask(command string, answer any) error {
	timer := time.AfterFunc(replyTimeout, func() { _ = c.cmd.Process.Kill() })
	defer timer.Stop()
	var r reply
	_, err := fmt.Fprintln(c.in, command)
	if err == nil {
		err = c.out.Decode(&r)
	}
	switch {
	case err != nil:
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait() // c.stderr is complete after Wait
		return fmt.Errorf("%s: %s: %w\n%s", c.role, command, err, c.stderr.Bytes()[max(0, c.stderr.Len()-4096):])
	case r.Error != "":
		return fmt.Errorf("%s: %s: %s", c.role, command, r.Error)
	case answer == nil:
		return nil
	}
	return json.Unmarshal(r.Answer, answer)
}

// stop stops the child and returns its total CPU time. It may be called more than once.
func (c *child) stop() time.Duration {
	_ = c.in.Close()
	_ = c.cmd.Wait()
	if c.cmd.ProcessState == nil {
		return 0
	}
	return c.cmd.ProcessState.UserTime() + c.cmd.ProcessState.SystemTime()
}

// obey runs in the child. It executes each input command and writes a reply, until the input is
// closed.
func obey(in io.Reader, out io.Writer, commands map[string]func() (any, error)) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		command := commands[lines.Text()]
		if command == nil {
			return fmt.Errorf("%q is not a command", lines.Text())
		}
		answer, err := command()
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
