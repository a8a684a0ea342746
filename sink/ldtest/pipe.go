package ldtest

import (
	"context"
	"net"
	"sync"
)

// Pipe is a listener whose connections exist in memory only, so that a server
// and its clients run in one testing/synctest bubble:
//
//	pipe := ldtest.NewPipe()
//	srv := &http.Server{Handler: ld}
//	go srv.Serve(pipe)
//	client := &http.Client{Transport: &http.Transport{DialContext: pipe.DialContext}}
//
// A connection that is reset looks closed from the other end.
type Pipe struct {
	conns  chan net.Conn // capacity 0
	closed chan struct{}
	close  sync.Once
}

// NewPipe returns a Pipe that is open.
func NewPipe() *Pipe {
	return &Pipe{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// DialContext connects, whatever the address. It blocks until Accept is called,
// and fails with net.ErrClosed after Close.
func (p *Pipe) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept makes a Pipe a net.Listener, with Close and Addr. Close leaves
// connections alone.
func (p *Pipe) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *Pipe) Close() error {
	p.close.Do(func() { close(p.closed) })
	return nil
}

func (p *Pipe) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
