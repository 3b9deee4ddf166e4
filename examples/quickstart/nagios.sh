#!/usr/bin/env bash
# Starts a Nagios and checkbus in a temporary folder, publishes some results and
# shows what Nagios made of them. Needs no root; runs until Ctrl-C.
. "$(dirname "$0")/common.sh"

nagios=$(need nagios4 nagios4-core)
need mosquitto_pub mosquitto-clients >/dev/null

mkdir "$dir"/{rw,batch,results}
cat >"$dir/objects.cfg" <<'END'
define timeperiod {
  timeperiod_name  always
  alias            always
}
define command {
  command_name  nothing
  command_line  /bin/true
}
define contact {
  contact_name                   nobody
  host_notification_commands     nothing
  service_notification_commands  nothing
  host_notification_period       always
  service_notification_period    always
}
define host {
  host_name               web1
  address                 127.0.0.1
  check_command           nothing
  active_checks_enabled   0
  max_check_attempts      1
  check_period            always
  notification_period     always
  contacts                nobody
}
define service {
  name                    passive
  register                0
  host_name               web1
  check_command           nothing
  active_checks_enabled   0
  max_check_attempts      1
  check_period            always
  notification_period     always
  contacts                nobody
}
define service {
  use                     passive
  service_description     disk
}
define service {
  use                     passive
  service_description     backup
}
END
cat >"$dir/nagios.cfg" <<END
cfg_file=$dir/objects.cfg
nagios_user=$(id -un)
nagios_group=$(id -gn)
command_file=$dir/rw/nagios.cmd
query_socket=$dir/rw/nagios.qh
check_result_path=$dir/results
object_cache_file=$dir/objects.cache
precached_object_file=$dir/objects.precache
status_file=$dir/status.dat
state_retention_file=$dir/retention.dat
lock_file=$dir/nagios.pid
temp_file=$dir/nagios.tmp
temp_path=$dir
log_file=$dir/nagios.log
use_syslog=0
check_external_commands=1
check_for_updates=0
status_update_interval=1
enable_notifications=0
END
start nagios "$nagios" "$dir/nagios.cfg"
await "Nagios" test -p "$dir/rw/nagios.cmd" -a -e "$dir/objects.cache"

cat >"$dir/nagios.toml" <<END
[nagios]
command_file = "$dir/rw/nagios.cmd"
batch_dir = "$dir/batch"
object_cache = "$dir/objects.cache"
log_file = "$dir/nagios.log"
status_file = "$dir/status.dat"
END
start_checkbus "$dir/nagios.toml"
# It reads the cache once that has been left alone for a second, and takes
# results for any object until then.
await "the object cache" grep -q "object cache read" "$dir/checkbus.out"
publish_some

has_results() { [ "$(grep -cE 'plugin_output=(booted|DISK CRITICAL|BACKUP OK)' "$dir/status.dat")" -eq 3 ]; }
await "the results in Nagios" has_results
echo "in Nagios's status.dat:"
awk -F= '
	/^(host|service)status \{/ { service = "" }
	$1 ~ /host_name$/           { host = $2 }
	$1 ~ /service_description$/ { service = $2 }
	$1 ~ /current_state$/       { state = $2 }
	$1 ~ /\tplugin_output$/     { printf "    %-5s %-7s state %d  %s\n", host, service, state, substr($0, index($0, "=") + 1) }
' "$dir/status.dat"
show_rejected
run_until_interrupted
