package main

import (
	"fmt"
	"io"
	"strings"
)

// runCheckConfig checks the settings, and that what they name is there, and
// prints what would run.
func runCheckConfig(args []string, out, log io.Writer) error {
	flags := newFlags("check-config", "Checks the settings and all that they name, and prints what would run.", log)
	config := flags.String("config", "", "settings `file`")
	if err := parse(flags, args); err != nil {
		return err
	}
	s, err := readSettings(*config)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "data_dir  %s\n", s.DataDir)
	for _, l := range s.Listener {
		fmt.Fprintf(out, "listener  %s\n", l)
	}
	fmt.Fprintf(out, "results   %s/<host>[/<service>], payload up to %v, reason up to %v\n", s.Results.Root, s.Results.MaxPayload, s.Results.MaxReason)
	fmt.Fprintf(out, "spool     up to %v\n", s.Spool.MaxSize)
	fmt.Fprintf(out, "access    %s\n", s.Access)
	fmt.Fprintf(out, "web       %s\n", s.Web)
	for _, b := range s.Bridge {
		fmt.Fprintf(out, "bridge    %s\n", b)
	}
	if s.Subscribe != nil {
		fmt.Fprintf(out, "subscribe %s\n", s.Subscribe.Describe(s.Results.Root))
	}
	if s.Nagios != nil {
		way := "plain command lines"
		if s.Nagios.BatchDir != "" {
			way = "batches in " + s.Nagios.BatchDir
		}
		if s.Nagios.LogFile != "" {
			way += ", state changes from " + s.Nagios.LogFile
		}
		fmt.Fprintf(out, "nagios    %s, %s\n", s.Nagios.CommandFile, way)
	}
	if s.Icinga != nil {
		fmt.Fprintf(out, "icinga    %s, %d connections\n", strings.Join(s.Icinga.URL, ", "), s.Icinga.Connections)
	}
	if len(s.cores()) == 0 {
		fmt.Fprintln(out, "no core: states are tracked and published, and handed to none")
	}
	return s.mistakes(nil)
}
