// Package nagios hands results to Nagios Core 4 and Naemon on this machine, as
// passive checks, and tells what they make of their hosts and services.
//
// The cores take them as external commands, one a line, from a FIFO. A FIFO
// tells its writer nothing: what a dying core had read and not processed is
// gone. So results go into files of up to a thousand, and the FIFO carries only
// PROCESS_FILE commands that name them; the core removes a file after it has
// processed every line, which is the acknowledgement. Plain lines in the FIFO
// are the fallback where no folder can be shared with the core.
//
// A core says nothing to the writer about results for objects that it does not
// know, so its object cache is read and followed.
//
// What the core makes of its objects comes back from its log, which tells of
// every change as it happens, and from its status file, which tells everything
// a while later. Results that were handed over fill in what the log leaves out.
// After a kill, what the status file lacks of them is handed over again.
package nagios
