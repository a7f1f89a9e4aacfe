package main

import (
	"strings"
	"testing"
)

func TestBadUsageExits2WithOneLine(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		env  []string
		says string
	}{
		{"unknown command", []string{"serv"}, nil, `did you mean serve?`},
		{"unknown command like no other", []string{"bogus"}, nil, `no such command "bogus": see pgbell --help`},
		{"unknown flag", []string{"feeds", "--nosuch"}, nil, "no such flag --nosuch: see pgbell feeds --help"},
		{"unknown flag like another", []string{"attach", "tasks", "--scopes", "tasks"}, nil, "no such flag --scopes: did you mean --scope?"},
		{"unknown flag like a global one", []string{"feeds", "--database", "x"}, nil, "no such flag --database: did you mean --database-url?"},
		{"unknown flag of one letter", []string{"attach", "tasks", "-s"}, nil, "no such flag --s: see pgbell attach --help"},
		{"unknown global flag", []string{"--nosuch", "feeds"}, nil, "nosuch"},
		{"flag without value", []string{"feeds", "--database-url"}, nil, "needs an argument"},
		{"bad bool", []string{"attach", "tasks", "--scope", "a", "--durable=maybe"}, nil, "durable"},
		{"bad bool in the environment", []string{"feeds"}, []string{"PGBELL_JSON=maybe"}, "PGBELL_JSON"},
		{"bad duration", []string{"serve", "--drain", "soon"}, nil, `pgbell: --drain: "soon" is no time such as 500ms, 10s or 1h30m`},
		{"duration without a unit", []string{"serve", "--drain", "5"}, nil, `pgbell: --drain: "5" is no time such as`},
		{"duration in the environment", []string{"serve"}, []string{"PGBELL_DRAIN=5"}, `pgbell: PGBELL_DRAIN: "5" is no time such as`},
		{"bad number", []string{"serve", "--max-scopes", "many"}, nil, `pgbell: --max-scopes: "many" is no whole number`},
		{"too large a number", []string{"serve", "--max-scopes", "99999999999999999999"}, nil, `"99999999999999999999" is too large`},
		{"bad bool of serve", []string{"serve", "--status=perhaps"}, nil, `pgbell: --status: "perhaps" is neither true nor false`},
		{"completion for an unknown shell", []string{"completion", "tcsh"}, nil, "completion is for bash, zsh, fish or pwsh"},
		{"completion for none", []string{"completion"}, nil, "completion is for bash, zsh, fish or pwsh"},
		{"negative duration", []string{"serve", "--drain", "-1s"}, nil, "drain"},
		{"migrate sideways", []string{"migrate", "sideways"}, nil, "up, down, status"},
		{"migrate both ways", []string{"migrate", "up", "down"}, nil, "up, down, status"},
		{"attach without a table", []string{"attach", "--scope", "a"}, nil, "one TABLE, got 0"},
		{"attach two tables", []string{"attach", "a", "b", "--scope", "a"}, nil, "one TABLE, got 2"},
		{"attach without a scope", []string{"attach", "tasks"}, nil, "--scope tasks"},
		{"print without a scope", []string{"attach", "tasks", "--print"}, nil, "--scope tasks"},
		{"print with a value apart", []string{"attach", "tasks", "--scope", "a", "--print", "sql"}, nil, "did you mean --print=sql?"},
		{"print in another form", []string{"attach", "tasks", "--scope", "a", "--print=flyway"}, nil, "--print: goose or sql"},
		{"unclosed brace", []string{"attach", "tasks", "--scope", "a:{b"}, nil, "not closed"},
		{"reserved scope", []string{"attach", "tasks", "--scope", "message"}, nil, "reserved"},
		{"empty column", []string{"attach", "tasks", "--scope", "a", "--audience", "a,,b"}, nil, "--audience"},
		{"bad quotes", []string{"attach", "tasks", "--scope", "a", "--columns", `"a,b`}, nil, "--columns"},
		{"payload without journal", []string{"attach", "tasks", "--scope", "a", "--payload", "a", "--durable=false", "--print"}, nil, "payload"},
		{"print as JSON", []string{"attach", "tasks", "--scope", "a", "--print", "--json"}, nil, "--json"},
		{"explain without a key", []string{"explain", "tasks"}, nil, "TABLE and KEY, got 1"},
		{"explain with a server that is none", []string{"explain", "tasks", "1", "--server", "127.0.0.1:8080"}, nil, "--server is a URL"},
		{"detach without a table", []string{"detach"}, nil, "one TABLE, got 0"},
		{"feeds of something", []string{"feeds", "tasks"}, nil, "no arguments"},
		{"serve something", []string{"serve", "tasks"}, nil, "no arguments"},
		{"bad address", []string{"serve", "--addr", "8080"}, nil, "HOST:PORT"},
		{"bad port", []string{"serve", "--addr", "127.0.0.1:http8080"}, nil, "HOST:PORT"},
		{"bad address in the environment", []string{"serve"}, []string{"PGBELL_ADDR=8080"}, "HOST:PORT"},
		{"unknown auth", []string{"serve", "--auth", "magic"}, nil, "none, header or jwt"},
		{"jwt without a key", []string{"serve", "--auth", "jwt"}, nil, "--jwt-secret-file, --jwt-public-key-file, --jwt-jwks-url"},
		{"jwt with an empty key", []string{"serve", "--auth", "jwt", "--jwt-secret-file", ""}, nil, "--jwt-secret-file is empty"},
		{"jwt with two keys", []string{"serve", "--auth", "jwt", "--jwt-secret-file", "s", "--jwt-jwks-url", "u"}, nil, "--jwt-secret-file and --jwt-jwks-url can't go together"},
		{"jwt over HTTP", []string{"serve", "--auth", "jwt", "--jwt-jwks-url", "http://issuer.example/"}, nil, "https"},
		{"jwt flag with header", []string{"serve", "--auth", "header", "--jwt-issuer", "us"}, nil, "--jwt-issuer is for --auth jwt"},
		{"jwt key without jwt", []string{"serve", "--jwt-secret-file", "s"}, nil, "--jwt-secret-file is for --auth jwt"},
		{"jwt switch without jwt", []string{"serve", "--jwt-query-param"}, nil, "--jwt-query-param is for --auth jwt"},
		{"jwt key without jwt in the environment", []string{"serve"}, []string{"PGBELL_JWT_JWKS_URL=https://issuer.example/"}, "--jwt-jwks-url is for --auth jwt"},
		{"token of something", []string{"token", "alice"}, nil, "no arguments"},
		{"token of nobody", []string{"token", "--jwt-secret-file", "s"}, nil, "--user"},
		{"token of a control character", []string{"token", "--user", "a\tb"}, nil, "control"},
		{"token without a key", []string{"token", "--user", "alice"}, nil, "openssl rand -hex 32 > pgbell.secret"},
		{"token with two keys", []string{"token", "--user", "alice", "--jwt-secret-file", "s", "--jwt-private-key-file", "k"}, nil, "one key signs"},
		{"token for no time", []string{"token", "--user", "alice", "--ttl", "0s"}, nil, "--ttl"},
		{"bad auth header", []string{"serve", "--auth", "header", "--auth-header", "X: y"}, nil, "--auth-header"},
		{"bad proxies", []string{"serve", "--trusted-proxies", "10.0.0.0/8,home"}, nil, `"home"`},
		{"bad log level", []string{"serve", "--log-level", "loud"}, nil, "debug, info, warn, error"},
		{"tail something", []string{"tail", "tasks"}, nil, "no arguments"},
		{"tail no scope", []string{"tail", "--scope", ""}, nil, "1 to 256 bytes"},
		{"tail too long a scope", []string{"tail", "--scope", strings.Repeat("é", 43)}, nil, "1 to 256 bytes"},
		{"bad connection string", []string{"feeds", "--database-url", "tasks"}, nil, "postgres://"},
		{"bad port in the connection string", []string{"feeds"}, []string{"DATABASE_URL=postgres://u@h:five/d"}, "port"},
		{"bad PGPORT", []string{"feeds"}, []string{"PGPORT=five"}, "PG*"},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantError(t, runEnv(t, test.env, test.args...), 2, test.says)
		})
	}
}

// A connection string in the wrong place, or one that can't be read, must not
// show up with its password in a terminal or a log.
func TestBadUsageDoesNotRepeatAPassword(t *testing.T) {
	for _, args := range [][]string{
		{"postgres://u:hunter2@h/d"},
		{"feeds", "postgres://u:hunter2@h/d"},
		{"attach", "tasks", "postgres://u:hunter2@h/d", "--scope", "a"},
		{"feeds", "--database-url", "postgres://u:hunter2:x@h/d/"},
		{"feeds", "--database-url", "postgres://u:hunter2/x@h/d"},
		{"feeds", "--database-url", "postgres://u@x:hunter2@h/d"},
		{"feeds", "--database-url", "host=h password = 'hunter2 oops"},
		{"feeds", "--database-url", "hunter2"},
		{"feeds", "--database-ur=postgres://u:hunter2@h/d"},
		{"--json=hunter2", "feeds"},
	} {
		r := runEnv(t, nil, args...)
		if strings.Contains(r.stdout+r.stderr, "hunter2") {
			t.Errorf("pgbell %q repeats the password: %q", args, r.stderr)
		}
		if r.code == 0 {
			t.Errorf("pgbell %q: exit 0", args)
		}
	}
	r := runEnv(t, []string{"DATABASE_URL=postgres://u:hunter2@h/d"}, "feeds", "--help")
	if strings.Contains(r.stdout+r.stderr, "hunter2") {
		t.Errorf("help repeats the password: %s", r.stdout)
	}
}

func TestHelpIsNoError(t *testing.T) {
	for _, args := range [][]string{nil, {"--help"}, {"help"}, {"attach", "--help"}, {"help", "serve"}, {"migrate", "up", "-h"}, {"attach", "tasks", "--help"}} {
		r := runEnv(t, nil, args...)
		if r.code != 0 || r.stderr != "" || !strings.Contains(r.stdout, "USAGE") {
			t.Errorf("pgbell %q: exit %d, standard error %q, standard output %q", args, r.code, r.stderr, r.stdout)
		}
	}
}

func TestEveryFlagHasItsVariable(t *testing.T) {
	for _, c := range newApp(nil, nil).Commands {
		for _, f := range c.Flags {
			name := f.Names()[0]
			want := "PGBELL_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
			env, ok := f.(interface{ GetEnvVars() []string })
			if !ok || len(env.GetEnvVars()) != 1 || env.GetEnvVars()[0] != want {
				t.Errorf("%s --%s can't be set by %s", c.Name, name, want)
			}
		}
	}
}
