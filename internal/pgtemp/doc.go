// Package pgtemp runs a throw-away PostgreSQL from the binaries installed on
// this machine, for `pgbell demo` and for tests.
//
// One whose files are kept (Server.Keep) can be started again.
//
// The server listens on 127.0.0.1 alone, on a port of its own, and keeps all
// its files in one directory that Stop removes. On Linux it dies with the
// process that started it, even when that is killed with SIGKILL; the files
// that stay behind then are removed by the next Start. As root, the server
// runs as an unprivileged user (postgres, else nobody), since PostgreSQL
// refuses root.
package pgtemp
