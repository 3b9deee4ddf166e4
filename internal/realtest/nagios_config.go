package realtest

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"checkbus/checks"
)

// owner is whom the daemon runs as: name, or the current user.
func (n *Nagios) owner(name string) (*user.User, *user.Group) {
	n.t.Helper()
	who, err := user.Current()
	if name != "" {
		who, err = user.Lookup(name)
	}
	if err != nil {
		n.t.Fatal(err)
	}
	group, err := user.LookupGroupId(who.Gid)
	if err != nil {
		n.t.Fatal(err)
	}
	return who, group
}

// giveTo makes the folders usable for another user than the current one.
func (n *Nagios) giveTo(who *user.User) {
	n.t.Helper()
	uid, err1 := strconv.Atoi(who.Uid)
	gid, err2 := strconv.Atoi(who.Gid)
	err := errors.Join(err1, err2, os.Chmod(filepath.Dir(n.Dir), 0o755), os.Chown(n.BatchDir, -1, gid))
	for _, d := range []string{"", "rw", "results", "tmp"} {
		err = errors.Join(err, os.Chown(filepath.Join(n.Dir, d), uid, gid))
	}
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *Nagios) mainConfig(o NagiosOptions, owner, group string) string {
	var b strings.Builder
	set := func(key, value string) { fmt.Fprintf(&b, "%s=%s\n", key, value) }
	in := func(name string) string { return filepath.Join(n.Dir, name) }
	set("cfg_file", in("objects.cfg"))
	for _, path := range o.Includes {
		set("cfg_file", path)
	}
	set("nagios_user", owner)
	set("nagios_group", group)
	set("log_file", n.LogFile)
	set("status_file", n.StatusFile)
	set("object_cache_file", n.ObjectCache)
	set("precached_object_file", in("objects.precache"))
	set("command_file", n.CommandFile)
	set("query_socket", in("rw/nagios.qh"))
	set("lock_file", in("nagios.pid"))
	set("temp_file", in("nagios.tmp"))
	set("temp_path", in("tmp"))
	set("check_result_path", in("results"))
	set("state_retention_file", in("retention.dat"))
	b.WriteString(`check_external_commands=1
status_update_interval=1
check_workers=1
log_rotation_method=n
use_syslog=0
log_external_commands=0
log_passive_checks=1
check_for_updates=0
execute_service_checks=0
execute_host_checks=0
check_service_freshness=0
enable_notifications=0
enable_event_handlers=0
enable_flap_detection=0
retain_state_information=1
use_retained_program_state=0
illegal_macro_output_chars=` + "`~$&|'\"<>\n")
	for _, line := range o.Config {
		b.WriteString(line + "\n")
	}
	return b.String()
}

func objectConfig(o NagiosOptions) string {
	var b strings.Builder
	b.WriteString(`define timeperiod {
  timeperiod_name always
  alias           always
  sunday          00:00-24:00
  monday          00:00-24:00
  tuesday         00:00-24:00
  wednesday       00:00-24:00
  thursday        00:00-24:00
  friday          00:00-24:00
  saturday        00:00-24:00
}
define command {
  command_name nothing
  command_line /bin/true
}
define contact {
  contact_name                  nobody
  host_notification_period      always
  service_notification_period   always
  host_notification_commands    nothing
  service_notification_commands nothing
}
define host {
  name                   test-host
  register               0
  check_command          nothing
  active_checks_enabled  0
  passive_checks_enabled 1
  max_check_attempts     1
  check_period           always
  notification_period    always
  contacts               nobody
}
define service {
  name                   test-service
  register               0
  check_command          nothing
  active_checks_enabled  0
  passive_checks_enabled 1
  max_check_attempts     1
  check_period           always
  notification_period    always
  contacts               nobody
}
`)
	seen := make(map[string]bool)
	host := func(name string) {
		if !seen[name] {
			seen[name] = true
			fmt.Fprintf(&b, "define host {\n  use test-host\n  host_name %s\n  address 127.0.0.1\n}\n", name)
		}
	}
	object := func(ob checks.Object) {
		host(ob.Host)
		if !ob.IsHost() {
			fmt.Fprintf(&b, "define service {\n  use test-service\n  host_name %s\n  service_description %s\n}\n", ob.Host, ob.Service)
		}
	}
	for h := range o.Hosts {
		name := fmt.Sprintf("h%04d", h)
		host(name)
		for s := range o.Services {
			object(checks.Object{Host: name, Service: fmt.Sprintf("s%03d", s)})
		}
	}
	for _, ob := range o.Objects {
		object(ob)
	}
	return b.String()
}
