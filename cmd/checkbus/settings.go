package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"checkbus/broker"
	"checkbus/checks"
	"checkbus/icinga"
	"checkbus/internal/bus"
	"checkbus/internal/settings"
	"checkbus/internal/web"
	"checkbus/nagios"
)

// Settings are all that the settings file may say. A table that is nil is not
// there: no such core, or no outside broker.
type Settings struct {
	DataDir   string            `toml:"data_dir"`
	Log       LogSettings       `toml:"log"`
	Results   ResultSettings    `toml:"results"`
	Spool     SpoolSettings     `toml:"spool"`
	Publish   PublishSettings   `toml:"publish"`
	Listener  []broker.Listener `toml:"listener"`
	Access    broker.Access     `toml:"access"`
	Broker    BrokerSettings    `toml:"broker"`
	Bridge    []broker.Bridge   `toml:"bridge"`
	Nagios    *nagios.Config    `toml:"nagios"`
	Icinga    *icinga.Config    `toml:"icinga"`
	Subscribe *broker.Subscribe `toml:"subscribe"`
	Web       web.Config        `toml:"web"`

	file *settingsFile // that they are from
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

// PublishSettings say what is an event.
type PublishSettings struct {
	Events string `toml:"events"` // changes, or all: each attempt of a soft problem as well
}

// BrokerSettings bound what clients may take, and say what of them is kept and
// how often figures are published below $SYS.
type BrokerSettings struct {
	MaxPacket          settings.Size `toml:"max_packet"`
	MaxConnections     int           `toml:"max_connections"`
	MaxSessions        int           `toml:"max_sessions"` // 0: twice as many
	MaxPerAddress      int           `toml:"max_connections_per_address"`
	MaxRate            int           `toml:"max_rate"`
	ConnectTimeout     time.Duration `toml:"connect_timeout"`
	MaxTopicLevels     int           `toml:"max_topic_levels"`
	PersistentSessions bool          `toml:"persistent_sessions"`
	MaxQueuedMessages  int           `toml:"max_queued_messages"`
	MaxQueuedBytes     settings.Size `toml:"max_queued_bytes"`
	MaxStored          settings.Size `toml:"max_stored"`
	MaxRetained        settings.Size `toml:"max_retained"`
	MaxKept            settings.Size `toml:"max_kept"`
	SysInterval        time.Duration `toml:"sys_interval"`
}

// defaults are the settings of a gateway that was told nothing: a broker on
// loopback, and no core.
func defaults() Settings {
	b, icingaDefaults, subscribeDefaults := broker.Default(), icinga.Defaults(), broker.DefaultSubscribe()
	return Settings{
		DataDir:  defaultDataDir(),
		Log:      LogSettings{Level: slog.LevelInfo, Format: "text"},
		Results:  ResultSettings{Root: "nagios", MaxPayload: 256 << 10, MaxReason: 16 << 10, MaxObjects: 1_000_000},
		Spool:    SpoolSettings{MaxSize: 1 << 30},
		Publish:  PublishSettings{Events: "changes"},
		Listener: b.Listeners,
		Broker: BrokerSettings{
			MaxPacket:          settings.Size(b.MaxPacket),
			MaxConnections:     b.MaxConnections,
			ConnectTimeout:     b.ConnectTimeout,
			MaxTopicLevels:     b.MaxTopicLevels,
			PersistentSessions: true,
			MaxQueuedMessages:  b.Queue.Messages,
			MaxQueuedBytes:     settings.Size(b.Queue.Bytes),
			MaxStored:          settings.Size(b.MaxStored),
			MaxRetained:        settings.Size(b.MaxRetained),
			MaxKept:            settings.Size(b.MaxKept),
			SysInterval:        b.SysInterval,
		},
		Nagios:    &nagios.Config{},
		Icinga:    &icingaDefaults,
		Web:       web.Default(),
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
// path the defaults are the settings. The error has every mistake, those in the
// files that the settings name among them.
func readSettings(path string) (Settings, error) {
	s := defaults()
	file := newSettingsFile("", "")
	if path != "" {
		var err error
		if file, err = load(path, &s); err != nil {
			return s, err
		}
	}
	if !file.set["nagios"] {
		s.Nagios = nil
	}
	if !file.set["icinga"] {
		s.Icinga = nil
	}
	if file.set["subscribe"] {
		s.Subscribe.Dir = s.DataDir
	} else {
		s.Subscribe = nil
	}
	s.file = file
	file.judge(s.Validate())
	if len(file.errs) > 0 {
		return s, s.mistakes(nil)
	}
	return s, nil
}

// mistakes are err and what else is wrong with the settings, all at once, with
// the places in the file.
func (s Settings) mistakes(err error) error {
	s.file.judge(err)
	s.file.judge(s.Check())
	return errors.Join(s.file.errs...)
}

func (s Settings) broker() broker.Config {
	dir := ""
	if s.Broker.PersistentSessions {
		dir = filepath.Join(s.DataDir, "broker")
	}
	return broker.Config{
		Listeners:      s.Listener,
		Access:         s.Access,
		Bridges:        s.Bridge,
		MaxPacket:      int(s.Broker.MaxPacket),
		MaxConnections: s.Broker.MaxConnections,
		MaxSessions:    s.Broker.MaxSessions,
		ConnectTimeout: s.Broker.ConnectTimeout,
		MaxTopicLevels: s.Broker.MaxTopicLevels,
		MaxRate:        s.Broker.MaxRate,
		Dir:            dir,
		Queue:          broker.Queue{Messages: s.Broker.MaxQueuedMessages, Bytes: int64(s.Broker.MaxQueuedBytes)},
		MaxStored:      int64(s.Broker.MaxStored),
		MaxRetained:    int64(s.Broker.MaxRetained),
		MaxKept:        int64(s.Broker.MaxKept),
		SysInterval:    s.Broker.SysInterval,

		MaxConnectionsPerAddress: s.Broker.MaxPerAddress,

		Version:   version(),
		Subscribe: s.Subscribe,
	}
}

// bus are the options of the bus that the settings say; the parts around it are
// not among them.
func (s Settings) bus() bus.Options {
	return bus.Options{
		Decoder:      checks.Decoder{Root: s.Results.Root, MaxPayload: int(s.Results.MaxPayload), MaxReason: int(s.Results.MaxReason)},
		MaxObjects:   s.Results.MaxObjects,
		EveryAttempt: s.Publish.Events == "all",
		SysInterval:  s.Broker.SysInterval,
	}
}

// addresses are those that the gateway listens on.
func (s Settings) addresses() []string {
	var all []string
	for _, l := range s.Listener {
		all = append(all, l.Address)
	}
	return append(all, s.Web.Address)
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
	errs = append(errs, s.Results.Validate(), s.Spool.Validate(), s.Publish.Validate(), s.broker().Validate(), s.Web.Validate(s.Access.PasswordFile != ""))
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

// Check looks at the files that the settings name, and names every mistake by
// its key.
func (s Settings) Check() error {
	errs := []error{s.checkDataDir(), s.broker().Check(), s.Web.Check()}
	if s.Nagios != nil {
		errs = append(errs, s.Nagios.Check())
	}
	return errors.Join(errs...)
}

// checkDataDir wants a folder, or room for one.
func (s Settings) checkDataDir() error {
	fi, err := os.Stat(s.DataDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("data_dir: %w", err)
	case !fi.IsDir():
		return fmt.Errorf("data_dir: %s is not a directory", s.DataDir)
	}
	return nil
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

// Validate checks the word.
func (p PublishSettings) Validate() error {
	if p.Events != "changes" && p.Events != "all" {
		return fmt.Errorf("publish.events: %q is neither changes nor all", p.Events)
	}
	return nil
}
