package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"checkbus/broker"
	"checkbus/icinga"
	"checkbus/internal/settings"
	"checkbus/nagios"
)

// Settings are all that the settings file may say. A table that is nil is not
// there: no such core, or no outside broker.
type Settings struct {
	DataDir  string            `toml:"data_dir"`
	Log      LogSettings       `toml:"log"`
	Results  ResultSettings    `toml:"results"`
	Spool    SpoolSettings     `toml:"spool"`
	Listener []broker.Listener `toml:"listener"`
	Access   broker.Access     `toml:"access"`
	Broker   BrokerSettings    `toml:"broker"`
	Nagios   *nagios.Config    `toml:"nagios"`
	Icinga   *icinga.Config    `toml:"icinga"`

	Subscribe *broker.Subscribe `toml:"subscribe"`
}

// LogSettings say what is logged, on standard error.
type LogSettings struct {
	Level  slog.Level `toml:"level"`
	Format string     `toml:"format"` // text or json
}

// ResultSettings bound what is read as a check result.
type ResultSettings struct {
	Root       string        `toml:"root"`
	MaxPayload settings.Size `toml:"max_payload"`
	MaxReason  settings.Size `toml:"max_reason"`
	MaxObjects int           `toml:"max_objects"`
}

// SpoolSettings bound what is kept on disk.
type SpoolSettings struct {
	MaxSize settings.Size `toml:"max_size"`
}

// BrokerSettings bound what clients may take, and say how often figures are
// published below $SYS.
type BrokerSettings struct {
	MaxPacket      settings.Size `toml:"max_packet"`
	MaxConnections int           `toml:"max_connections"`
	SysInterval    time.Duration `toml:"sys_interval"`
}

// defaults are the settings of a gateway that was told nothing: a broker on
// loopback, and no core.
func defaults() Settings {
	icingaDefaults, subscribeDefaults := icinga.Defaults(), broker.DefaultSubscribe()
	return Settings{
		DataDir:  defaultDataDir(),
		Log:      LogSettings{Level: slog.LevelInfo, Format: "text"},
		Results:  ResultSettings{Root: "nagios", MaxPayload: 256 << 10, MaxReason: 16 << 10, MaxObjects: 1_000_000},
		Spool:    SpoolSettings{MaxSize: 1 << 30},
		Listener: []broker.Listener{{Address: "127.0.0.1:1883"}},
		Broker:   BrokerSettings{MaxPacket: 2_000_000, MaxConnections: 10_000, SysInterval: 10 * time.Second},
		Nagios:   &nagios.Config{},
		Icinga:   &icingaDefaults,

		Subscribe: &subscribeDefaults,
	}
}

func defaultDataDir() string {
	if dir := os.Getenv("STATE_DIRECTORY"); dir != "" { // systemd.exec(5)
		return dir
	}
	state := os.Getenv("XDG_STATE_HOME") // XDG Base Directory Specification
	if state == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "checkbus")
}

// readSettings reads path over the defaults and validates the whole; without a
// path the defaults are the settings.
func readSettings(path string) (Settings, error) {
	s := defaults()
	set := map[string]bool{}
	if path != "" {
		var err error
		if set, err = load(path, &s); err != nil {
			return s, err
		}
	}
	if !set["nagios"] {
		s.Nagios = nil
	}
	if !set["icinga"] {
		s.Icinga = nil
	}
	if set["subscribe"] {
		s.Subscribe.Dir = s.DataDir
	} else {
		s.Subscribe = nil
	}
	err := s.Validate()
	if err != nil && path != "" {
		err = fmt.Errorf("%s:\n%w", path, err)
	}
	return s, err
}

func (s Settings) broker() broker.Config {
	return broker.Config{
		Listeners:      s.Listener,
		Access:         s.Access,
		MaxPacket:      int(s.Broker.MaxPacket),
		MaxConnections: s.Broker.MaxConnections,
		SysInterval:    s.Broker.SysInterval,
		Version:        version(),
		Subscribe:      s.Subscribe,
	}
}

// Validate names every mistake by its key.
func (s Settings) Validate() error {
	var errs []error
	if s.DataDir == "" {
		errs = append(errs, errors.New("data_dir: required, since neither STATE_DIRECTORY, XDG_STATE_HOME nor HOME is set"))
	}
	if s.Log.Format != "text" && s.Log.Format != "json" {
		errs = append(errs, fmt.Errorf("log.format: %q is neither text nor json", s.Log.Format))
	}
	errs = append(errs, s.Results.Validate(), s.Spool.Validate(), s.broker().Validate())
	if s.Subscribe != nil {
		errs = append(errs, s.Subscribe.CheckRoot(s.Results.Root))
		if s.Results.MaxPayload >= s.Broker.MaxPacket {
			errs = append(errs, fmt.Errorf("results.max_payload: %v is not less than broker.max_packet (%v), beyond which messages of an outside broker are cut", s.Results.MaxPayload, s.Broker.MaxPacket))
		}
	}
	if s.Nagios != nil {
		errs = append(errs, s.Nagios.Validate())
	}
	if s.Icinga != nil {
		errs = append(errs, s.Icinga.Validate())
	}
	return errors.Join(errs...)
}

// Validate checks the root and the bounds.
func (r ResultSettings) Validate() error {
	var errs []error
	first, _, _ := strings.Cut(r.Root, "/")
	switch {
	case r.Root == "", strings.HasPrefix(r.Root, "/"), strings.HasSuffix(r.Root, "/"), strings.ContainsAny(r.Root, "+#\x00"):
		errs = append(errs, fmt.Errorf("results.root: %q is not a topic without wildcards or empty ends", r.Root))
	case first == "checkbus", strings.HasPrefix(r.Root, "$"):
		errs = append(errs, fmt.Errorf("results.root: %q is where the gateway itself speaks", r.Root))
	}
	if r.MaxPayload < 1<<10 || r.MaxPayload > 64<<20 {
		errs = append(errs, fmt.Errorf("results.max_payload: %v is not between 1KiB and 64MiB", r.MaxPayload))
	}
	if r.MaxReason < 128 || r.MaxReason > r.MaxPayload {
		errs = append(errs, fmt.Errorf("results.max_reason: %v is not between 128B and max_payload (%v)", r.MaxReason, r.MaxPayload))
	}
	if r.MaxObjects < 1 {
		errs = append(errs, fmt.Errorf("results.max_objects: %d is not positive", r.MaxObjects))
	}
	return errors.Join(errs...)
}

// Validate checks that the spool has room for a few of the largest messages.
func (s SpoolSettings) Validate() error {
	if s.MaxSize < 1<<20 {
		return fmt.Errorf("spool.max_size: %v is less than 1MiB", s.MaxSize)
	}
	return nil
}
