// Command checkbus takes check results over MQTT, keeps them on disk, and
// hands them to Nagios, Naemon or Icinga 2 as passive checks.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

const usage = `checkbus takes check results over MQTT and hands them to Nagios or Icinga 2.

Usage:
    checkbus serve [-config FILE]          run the gateway
    checkbus check-config [-config FILE]   check the settings and all they name
    checkbus rejected [-config FILE] [-n N] [-json]
                                           list what was refused, and why
    checkbus watch [FLAGS]                 follow states and events
    checkbus status [-config FILE] [-json] [-address URL]
                                           show the running gateway at a glance
    checkbus passwd [-D] FILE USER         give USER a password, or delete USER
    checkbus version

Without a settings file, serve runs an MQTT broker on 127.0.0.1:1883 that
tracks states and publishes their changes, with no core behind it. Publish:

    mosquitto_pub -t nagios/web1/disk -m '{"exit_code": 2, "reason": "disk full"}'

Exit codes: 0 done, 1 failed, 2 wrong usage; of status also 3, see its -help.
`

// errUsage is a command line that cannot be meant; its text is told already.
var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(exitCode(run(ctx, os.Args[1:], os.Stdout, os.Stderr), os.Stderr))
}

// exitCode tells of err on w, and turns it into the exit code.
func exitCode(err error, w io.Writer) int {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	}
	fmt.Fprintln(w, "checkbus:", err)
	if errors.Is(err, errDegraded) {
		return 3
	}
	return 1
}

func run(ctx context.Context, args []string, out, log io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(log, usage)
		return errUsage
	}
	switch command, args := args[0], args[1:]; command {
	case "serve":
		return runServe(ctx, args, log)
	case "check-config":
		return runCheckConfig(args, out, log)
	case "rejected":
		return runRejected(args, out, log)
	case "watch":
		return runWatch(ctx, args, out, log)
	case "status":
		return runStatus(ctx, args, out, log)
	case "passwd":
		return runPasswd(ctx, args, os.Stdin, log)
	case "version", "-version", "--version":
		return runVersion(args, out, log)
	case "help", "-h", "-help", "--help":
		fmt.Fprint(out, usage)
		return nil
	default:
		fmt.Fprintf(log, "checkbus: no command %q; see checkbus help\n", command)
		return errUsage
	}
}

// release is set by the linker in a release build.
var release string

func runVersion(args []string, out, log io.Writer) error {
	if err := parse(newFlags("version", "Prints the version.", log), args); err != nil {
		return err
	}
	fmt.Fprintln(out, "checkbus", version())
	return nil
}

func version() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// newFlags makes the flags of a command; its help begins with what that does.
func newFlags(name, does string, log io.Writer) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(log)
	flags.Usage = func() {
		fmt.Fprintf(log, "Usage: checkbus %s [flags]\n\n%s\n\n", name, does)
		flags.PrintDefaults()
	}
	return flags
}

// parse reads the flags of a command that takes no other arguments.
func parse(flags *flag.FlagSet, args []string) error {
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
		fmt.Fprintf(flags.Output(), "checkbus %s: %v\n", flags.Name(), err)
	}
	if err != nil {
		return errUsage
	}
	return nil
}
