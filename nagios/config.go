package nagios

import (
	"errors"
	"fmt"
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
	switch c.Core {
	case "", coreNagios, coreNaemon:
	default:
		errs = append(errs, fmt.Errorf("nagios.core: %q is neither nagios nor naemon", c.Core))
	}
	return errors.Join(errs...)
}

// Check looks at what the settings name, as far as it can be seen while the
// core is down: a command file that is none, a batch folder that is missing or
// that the gateway cannot write to. Whether the core can is not to be seen.
func (c Config) Check() error {
	var errs []error
	if fi, err := os.Stat(c.CommandFile); err == nil && fi.Mode().Type() != os.ModeNamedPipe {
		errs = append(errs, fmt.Errorf("nagios.command_file: %w", notAPipe(c.CommandFile)))
	}
	if c.BatchDir != "" {
		if err := checkBatchDir(c.BatchDir); err != nil {
			errs = append(errs, fmt.Errorf("nagios.batch_dir: %w", err))
		}
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
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("write to %s: %w", dir, err)
	}
	return nil
}
