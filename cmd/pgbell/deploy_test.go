package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// metricNames returns the names of what a server has to tell once everything that
// gives a metric has happened.
func metricNames(t *testing.T) []string {
	t.Helper()
	_, server := beginServe(t, migrated(t))
	for deadline := time.Now().Add(10 * time.Minute); ; {
		_, text := get(t, server+"/metrics")
		if strings.Contains(text, "\npgbell_feeds{") { // which takes a look at the database
			var names []string
			for _, match := range regexp.MustCompile(`(?m)^# TYPE (\S+) `).FindAllStringSubmatch(text, -1) {
				names = append(names, match[1])
			}
			return names
		}
		if time.Now().After(deadline) {
			t.Fatalf("no pgbell_feeds among the metrics:\n%s", text)
		}
	}
}

func readDocument(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// all returns what the first group of pattern matches in text, sorted, each once.
func all(pattern, text string) []string {
	var found []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func TestDeployedFilesNameMetricsThatThereAre(t *testing.T) {
	names := metricNames(t)
	for _, file := range []string{"deploy/grafana-dashboard.json", "deploy/prometheus-rules.yaml", "deploy/prometheus-rules_test.yaml"} {
		used := all(`\b((?:pgbell|process|go)_[a-z_]+)`, readDocument(t, file))
		if len(used) < 10 {
			t.Errorf("%s names only %q: this test checks little", file, used)
		}
		for _, name := range used {
			base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
			if name == "pgbell_listener" { // a role, in the text
				continue
			}
			if !slices.Contains(names, name) && !(base != name && slices.Contains(names, base)) {
				t.Errorf("%s: there is no metric %s", file, name)
			}
		}
	}
	// Labels, too: a value that is never there makes an alert that never comes.
	for _, state := range []string{"faulty", "unknown"} {
		if rules := readDocument(t, "deploy/prometheus-rules.yaml"); !strings.Contains(rules, `state="`+state+`"`) {
			t.Errorf("no alert for feeds whose state is %s", state)
		}
	}
}

func TestDeployedFilesNameSettingsThatThereAre(t *testing.T) {
	help := runEnv(t, nil, "serve", "--help").stdout
	for _, file := range []string{"deploy/kubernetes.yaml", "deploy/pgbell.service", "compose.yaml", "Dockerfile"} {
		used := all(`\b(PGBELL_[A-Z_]+|DATABASE_URL)\b`, readDocument(t, file))
		if len(used) == 0 {
			t.Errorf("%s names no setting: this test checks nothing", file)
		}
		for _, name := range used {
			if name != "PGBELL_PORT" && !strings.Contains(help, "[$"+name+"]") { // that one is compose's own
				t.Errorf("%s: pgbell serve has no setting %s", file, name)
			}
		}
	}
}

// Else rate() knows nothing of the first refusal for a reason.
func TestEveryReasonToRefuseIsCountedFromZero(t *testing.T) {
	_, server := beginServe(t, nowhere)
	reasons := all(`&refusal\{"([^"]+)"`, readDocument(t, "sse/problem.go"))
	if len(reasons) < 10 {
		t.Fatalf("the reasons are said to be %q: this test checks little", reasons)
	}
	var want []string
	for _, reason := range reasons {
		want = append(want, `pgbell_requests_refused_total{reason="`+reason+`"} 0`)
	}
	_, text := get(t, server+"/metrics")
	if got := all(`(?m)^(pgbell_requests_refused_total.*)$`, text); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestManualListsEveryMetricAndAlert(t *testing.T) {
	manual := readDocument(t, "docs/operations.md")
	var want []string
	for _, name := range metricNames(t) {
		if strings.HasPrefix(name, "pgbell_") {
			want = append(want, name)
		}
	}
	slices.Sort(want)
	if got := all("(?m)^\\| `(pgbell_[a-z_]+)` \\|", manual); !slices.Equal(got, want) {
		t.Errorf("docs/operations.md lists the metrics\n%s\nthere are\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	want = all(`(?m)^ *- alert: (\w+)$`, readDocument(t, "deploy/prometheus-rules.yaml"))
	if got := all("(?m)^\\| `(Pgbell\\w+)` \\|", manual); len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("docs/operations.md lists the alerts\n%s\nthere are\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
