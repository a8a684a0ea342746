package ldtest

import (
	"context"
	"net"
	"sync"
)

// Pipe is a listener for in-memory connections. With a Pipe, a server and its clients can run in
// one testing/synctest bubble:
//
//	pipe := ldtest.NewPipe()
//	srv := &http.Server{Handler: ld}
//	go srv.Serve(pipe)
//	client := &http.Client{Transport: &http.Transport{DialContext: pipe.DialContext}}
//
// A connection reset looks like a normal close to the other end.
type Pipe struct {
	conns  chan net.Conn // unbuffered
	closed chan struct{}
	close  sync.Once
}

// NewPipe returns an open Pipe.
func NewPipe() *Pipe {
	return &Pipe{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// DialContext connects to the Pipe, regardless of the address. It blocks until Accept is called,
// and returns net.ErrClosed after Close.
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

// Accept returns the next connection. It returns net.ErrClosed after Close.
func (p *Pipe) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close closes the listener, but not its connections.
func (p *Pipe) Close() error {
	p.close.Do(func() { close(p.closed) })
	return nil
}

// Addr returns a placeholder address.
func (p *Pipe) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
