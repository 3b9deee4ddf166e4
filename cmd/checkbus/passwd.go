package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"checkbus/broker"

	"golang.org/x/term"
)

const passwdUsage = `usage: checkbus passwd [-D] FILE USER

Gives USER a password in a password file, which Mosquitto reads too, and creates
the file when it is missing. The password is asked for twice, or read from
standard input, one line, when that is no terminal. checkbus takes the change
on SIGHUP.

  -D    delete USER

example:
  checkbus passwd /etc/checkbus/passwd web1 < web1.secret
`

// runPasswd is "checkbus passwd": it changes a password file, and returns the
// exit code. Prompts and errors go to stderr.
func runPasswd(args []string, stdin io.Reader, stderr io.Writer) int {
	flags := flag.NewFlagSet("passwd", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, passwdUsage) }
	remove := flags.Bool("D", false, "delete USER")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if flags.NArg() != 2 {
		flags.Usage()
		return 2
	}

	file, user := flags.Arg(0), flags.Arg(1)
	var err error
	if *remove {
		err = broker.DeletePassword(file, user)
	} else {
		err = setPassword(file, user, stdin, stderr)
	}
	if err != nil {
		fmt.Fprintf(stderr, "checkbus passwd: %v\n", err)
		return 1
	}
	return 0
}

func setPassword(file, user string, stdin io.Reader, stderr io.Writer) error {
	var password string
	var err error
	if f, ok := stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		password, err = promptPassword(int(f.Fd()), stderr)
	} else {
		password, err = readLine(stdin)
	}
	if err != nil {
		return err
	}
	return broker.SetPassword(file, user, password)
}

// promptPassword asks for a password twice, without echo.
func promptPassword(terminal int, stderr io.Writer) (string, error) {
	var entered [2]string
	for i, prompt := range []string{"Password: ", "Again: "} {
		fmt.Fprint(stderr, prompt)
		password, err := term.ReadPassword(terminal)
		fmt.Fprintln(stderr)
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		entered[i] = string(password)
	}
	if entered[0] != entered[1] {
		return "", errors.New("the passwords differ")
	}
	return entered[0], nil
}

// readLine returns the first line of r, without its end.
func readLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, 1<<17)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
}
