// Package listen is what all servers of the gateway share: addresses, the
// sockets that systemd opened, and certificates that are renewed while they run.
package listen

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
)

// Sockets takes the sockets that systemd opened for those addresses that are
// systemd: and a name (sd_listen_fds_with_names(3)). Nobody can take them again.
// It is an error when one is missing, when two have one name, and when one is
// left over, whose clients nobody would serve.
func Sockets(addresses []string) (map[string]net.Listener, error) {
	wanted := map[string]bool{}
	for _, address := range addresses {
		if network, name := Network(address); network == "systemd" {
			wanted[name] = true
		}
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	passed, err := activation.ListenersWithNames()
	if err != nil {
		return nil, fmt.Errorf("take systemd's sockets: %w", err)
	}
	sockets := map[string]net.Listener{}
	var errs []error
	for name, list := range passed {
		switch {
		case !wanted[name]:
			errs = append(errs, fmt.Errorf("listener: none has the address systemd:%s, a socket that systemd passed", name))
		case len(list) > 1:
			errs = append(errs, fmt.Errorf("listener: systemd passed %d sockets named %s; give each its own FileDescriptorName", len(list), name))
		}
		sockets[name] = list[0]
	}
	for name := range wanted {
		if sockets[name] == nil {
			errs = append(errs, fmt.Errorf("listener: systemd passed no socket named %s, only [%s]", name,
				strings.Join(slices.Sorted(maps.Keys(sockets)), " ")))
		}
	}
	return sockets, errors.Join(errs...)
}
