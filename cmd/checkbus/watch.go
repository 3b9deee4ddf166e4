package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"golang.org/x/term"

	"checkbus/broker"
	"checkbus/checks"
)

// runWatch follows a gateway as any MQTT client can.
func runWatch(ctx context.Context, args []string, out, log io.Writer) error {
	flags := newFlags("watch", "Prints the present problems that a gateway knows of, then events as they come.", log)
	config := flags.String("config", "", "settings `file` of the gateway: its first listener is the default of -address")
	address := flags.String("address", "127.0.0.1:1883", "`where` the gateway listens: host:port, or mqtt://, mqtts://, ws://, wss:// and unix: URLs")
	var f broker.Follower
	flags.StringVar(&f.Username, "user", "", "user `name`")
	flags.StringVar(&f.PasswordFile, "password-file", "", "`file` whose first line is the password")
	flags.StringVar(&f.CA, "ca", "", "PEM `file` of the authorities that the gateway's certificate may come from; also makes -address HOST:PORT one with TLS")
	flags.StringVar(&f.Cert, "cert", "", "PEM `file` of a client certificate")
	flags.StringVar(&f.Key, "key", "", "PEM `file` of its key")
	flags.StringVar(&f.ServerName, "server-name", "", "`name` in the gateway's certificate, if it is not the host of the address")
	var filter watchFilter
	flags.StringVar(&filter.host, "host", "", "only hosts that fit this `pattern`, such as 'web*'")
	flags.StringVar(&filter.service, "service", "", "only services that fit this `pattern`")
	flags.Func("state", "only what is or was in one of these `states`: CRITICAL,WARNING, or problems", filter.setStates)
	flags.BoolVar(&filter.noStates, "events", false, "events only")
	flags.BoolVar(&filter.noEvents, "states", false, "states only, of all objects, and again after each result")
	asJSON := flags.Bool("json", false, "one JSON object a line")
	if err := parse(flags, args); err != nil {
		return err
	}
	if err := filter.validate(); err != nil {
		fmt.Fprintf(log, "checkbus watch: %v\n", err)
		return errUsage
	}
	where, err := watchAddress(*config, *address, isSet(flags, "address"), f.CA+f.Cert != "")
	if err != nil {
		return err
	}
	f.Address = []string{where}
	f.Filters = filter.topics()
	watching, end := context.WithCancelCause(ctx)
	defer end(nil)
	screen := &screen{
		out: out, filter: filter, json: *asJSON, colour: wantsColour(out), failed: end, known: map[checks.Object]uint64{},
	}
	f.Received = screen.received
	f.Lost = func(err error) {
		fmt.Fprintf(log, "checkbus watch: connection lost (%s), trying again\n", printable(err.Error()))
	}
	f.Back = func() { fmt.Fprintln(log, "checkbus watch: connected again") }
	if err := f.Run(watching); err != nil {
		u, wrong := url.Parse(where)
		if wrong != nil {
			return err
		}
		return explain(ctx, u, err)
	}
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(watching)
}

// watchAddress is the URL to connect to: what was said, or else the first
// listener of the settings.
func watchAddress(config, address string, said, secure bool) (string, error) {
	if config != "" && !said {
		s, err := readSettings(config)
		if err != nil {
			return "", err
		}
		where := s.Listener[0].URL()
		if where == "" {
			return "", errors.New("watch: the first listener does not say where it can be reached: set -address")
		}
		return where, nil
	}
	switch {
	case strings.Contains(address, "://"), strings.HasPrefix(address, "unix:"):
		return address, nil
	case secure:
		return "mqtts://" + address, nil
	}
	return "mqtt://" + address, nil
}

func isSet(flags *flag.FlagSet, name string) (set bool) {
	flags.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

// wantsColour reports whether out is a terminal that may show colours, see
// https://no-color.org.
func wantsColour(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}
