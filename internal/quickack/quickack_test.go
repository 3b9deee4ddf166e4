package quickack

import (
	"context"
	"io"
	"net"
	"testing"
)

func TestADialledConnectionCarriesBytes(t *testing.T) {
	for name, dial := range map[string]func(context.Context, string, string) (net.Conn, error){
		"dial": Dial(&net.Dialer{}),
		"turns": func(ctx context.Context, network, addr string) (net.Conn, error) {
			return DialTurns(ctx, &net.Dialer{}, network, addr)
		},
	} {
		t.Run(name, func(t *testing.T) { carriesBytes(t, dial) })
	}
}

func carriesBytes(t *testing.T, dial func(context.Context, string, string) (net.Conn, error)) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	served := make(chan error, 1)
	go func() {
		c, err := ln.Accept()
		if err == nil {
			_, err = io.WriteString(c, "hello")
			c.Close()
		}
		served <- err
	}()
	c, err := dial(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	text, err := io.ReadAll(c)
	if err != nil || string(text) != "hello" {
		t.Errorf("read %q, %v", text, err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
