package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"checkbus/broker"

	"golang.org/x/term"
)

const passwdUsage = `Usage: checkbus passwd [-D] FILE USER

Gives USER a password in a password file, which Mosquitto reads too, and creates
the file when it is missing. The password is asked for twice, or read from
standard input, one line, when that is no terminal. A running gateway takes the
change on SIGHUP.

  -D    delete USER

example:
  checkbus passwd /etc/checkbus/passwd web1 < web1.secret
`

// runPasswd changes a password file. Prompts go to log.
func runPasswd(ctx context.Context, args []string, stdin io.Reader, log io.Writer) error {
	flags := flag.NewFlagSet("passwd", flag.ContinueOnError)
	flags.SetOutput(log)
	flags.Usage = func() { fmt.Fprint(log, passwdUsage) }
	remove := flags.Bool("D", false, "delete USER")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return errUsage
	}
	if flags.NArg() != 2 {
		flags.Usage()
		return errUsage
	}
	file, user := flags.Arg(0), flags.Arg(1)
	if *remove {
		return broker.DeletePassword(file, user)
	}
	password, err := givenPassword(ctx, stdin, log)
	if err != nil {
		return err
	}
	return broker.SetPassword(file, user, password)
}

func givenPassword(ctx context.Context, stdin io.Reader, log io.Writer) (string, error) {
	if f, ok := stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return askPassword(ctx, int(f.Fd()), log)
	}
	return readLine(stdin)
}

// askPassword asks for a password twice, without echo.
func askPassword(ctx context.Context, terminal int, log io.Writer) (string, error) {
	var typed [2]string
	for i, prompt := range []string{"Password: ", "Again: "} {
		fmt.Fprint(log, prompt)
		password, err := typedPassword(ctx, terminal)
		fmt.Fprintln(log)
		if err != nil {
			return "", err
		}
		typed[i] = password
	}
	if typed[0] != typed[1] {
		return "", errors.New("the passwords differ")
	}
	return typed[0], nil
}

// typedPassword returns when a line is typed or ctx ends, and leaves the
// terminal with echo. A read from a terminal cannot be called off: it goes on
// until the next line or the end of the process.
func typedPassword(ctx context.Context, terminal int) (string, error) {
	state, err := term.GetState(terminal)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	type line struct {
		text []byte
		err  error
	}
	lines := make(chan line, 1)
	go func() {
		text, err := term.ReadPassword(terminal)
		lines <- line{text, err}
	}()
	select {
	case <-ctx.Done():
		return "", errors.Join(errors.New("interrupted"), term.Restore(terminal, state))
	case l := <-lines:
		if l.err != nil {
			return "", fmt.Errorf("read the password: %w", l.err)
		}
		return string(l.text), nil
	}
}

// readLine returns the first line of r, without its end.
func readLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, 1<<17)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
}
