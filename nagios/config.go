package nagios

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// The cores that this package feeds. They need different bytes, and nothing
// they write tells one from the other: Naemon's object cache calls itself
// Nagios's too (naemon-core, objects.c).
const (
	coreNagios = "nagios"
	coreNaemon = "naemon"
)

// Config says where a Nagios or Naemon on this machine takes results.
type Config struct {
	// CommandFile is the core's command_file, a FIFO that the core makes.
	CommandFile string `toml:"command_file"`
	// BatchDir is a folder for files of results, on which both the core and
	// the gateway need write permission. Empty: plain lines into the command
	// file, whose processing nothing confirms.
	BatchDir string `toml:"batch_dir"`
	// ObjectCache is the core's object_cache_file. Empty: results for objects
	// that the core does not know are handed over, and only the core's log
	// says so.
	ObjectCache string `toml:"object_cache"`
	// LogFile is the core's log_file and StatusFile its status_file, from which
	// the state changes come out. Both or none: without them nothing is heard of
	// what the core makes of results.
	LogFile    string `toml:"log_file"`
	StatusFile string `toml:"status_file"`
	// QuerySocket is Naemon's query_socket, which tells of each check. Empty:
	// those that change nothing are told when the status file is written.
	QuerySocket string `toml:"query_socket"`
	// Core is "nagios", which is also meant by "", or "naemon".
	Core string `toml:"core"`
}

// Validate names every mistake by its key.
func (c Config) Validate() error {
	var errs []error
	if c.CommandFile == "" {
		errs = append(errs, errors.New("nagios.command_file: required"))
	}
	for _, p := range []struct{ key, path string }{
		{"command_file", c.CommandFile},
		{"batch_dir", c.BatchDir},
		{"object_cache", c.ObjectCache},
		{"log_file", c.LogFile},
		{"status_file", c.StatusFile},
		{"query_socket", c.QuerySocket},
	} {
		if p.path != "" && !filepath.IsAbs(p.path) {
			errs = append(errs, fmt.Errorf("nagios.%s: %q is not an absolute path", p.key, p.path))
		}
	}
	if strings.ContainsFunc(c.BatchDir, isSeparator) {
		errs = append(errs, fmt.Errorf("nagios.batch_dir: %q holds a semicolon or a control character", c.BatchDir))
	}
	if len(c.BatchDir) > maxBatchDir {
		errs = append(errs, fmt.Errorf("nagios.batch_dir: longer than %d bytes", maxBatchDir))
	}
	if c.LogFile == "" && c.StatusFile != "" {
		errs = append(errs, errors.New("nagios.log_file: required with status_file"))
	}
	if c.LogFile != "" && c.StatusFile == "" {
		errs = append(errs, errors.New("nagios.status_file: required with log_file"))
	}
	if c.QuerySocket != "" && (c.Core != coreNaemon || c.LogFile == "") {
		errs = append(errs, errors.New("nagios.query_socket: needs core = \"naemon\" and log_file"))
	}
	switch c.Core {
	case "", coreNagios, coreNaemon:
	default:
		errs = append(errs, fmt.Errorf("nagios.core: %q is neither nagios nor naemon", c.Core))
	}
	return errors.Join(errs...)
}

// Check looks at what the settings name, as far as it can be seen while the
// core is down: a command file that is none, what may not be written or read, a
// batch folder that is missing. Whether the core may write to that is not to be
// seen.
func (c Config) Check() error {
	var errs []error
	note := func(key string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("nagios.%s: %w", key, err))
		}
	}
	switch fi, err := os.Stat(c.CommandFile); {
	case err == nil && fi.Mode().Type() != os.ModeNamedPipe:
		note("command_file", notAPipe(c.CommandFile))
	default:
		note("command_file", unlessMissing(access(c.CommandFile, unix.W_OK)))
	}
	if c.BatchDir != "" {
		note("batch_dir", checkBatchDir(c.BatchDir))
	}
	for _, f := range []struct{ key, path string }{
		{"object_cache", c.ObjectCache},
		{"log_file", c.LogFile},
		{"status_file", c.StatusFile},
	} {
		if f.path != "" {
			note(f.key, unlessMissing(access(f.path, unix.R_OK)))
		}
	}
	if c.QuerySocket != "" {
		note("query_socket", unlessMissing(access(c.QuerySocket, unix.R_OK|unix.W_OK)))
	}
	return errors.Join(errs...)
}

func checkBatchDir(dir string) error {
	fi, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	return access(dir, unix.R_OK|unix.W_OK|unix.X_OK)
}

func access(path string, mode uint32) error {
	if err := unix.Access(path, mode); err != nil {
		return &os.PathError{Op: "access", Path: path, Err: err}
	}
	return nil
}

// unlessMissing is err, but for a file that the core has yet to make.
func unlessMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
