package reload_test

import (
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgbell/pgbell/internal/reload"
)

func TestValueIsTheLastGoodOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var content, reported string
		var fails error
		read := func() (string, error) { return content, fails }
		report := func(n int, err error) {
			if err == nil {
				err = errors.New(strconv.Itoa(n))
			}
			reported += err.Error() + ";"
		}
		if _, err := reload.New(read, strconv.Atoi, report); err == nil {
			t.Error("no error at the start")
		}
		content = "1"
		v, err := reload.New(read, strconv.Atoi, report)
		if err != nil {
			t.Fatal(err)
		}
		gone, cut := errors.New("gone"), errors.New("cut")
		for _, step := range []struct {
			after   time.Duration
			content string
			fails   error
			want    int
			reports string
		}{
			{reload.Every - 1, "2", nil, 1, ""},
			{1, "2", nil, 2, "2;"},
			{reload.Every, "3", gone, 2, "gone;"},
			{reload.Every, "3", gone, 2, ""},
			{reload.Every, "3", cut, 2, "cut;"},
			{reload.Every, "2", nil, 2, ""},
			{reload.Every, "2", cut, 2, "cut;"},
			{reload.Every, "3", nil, 3, "3;"},
		} {
			time.Sleep(step.after)
			content, fails, reported = step.content, step.fails, ""
			if got := v.Get(); got != step.want || reported != step.reports {
				t.Errorf("%+v: got %d and reports of %q", step, got, reported)
			}
		}
	})
}

func TestOnlyOneCallerWaitsForTheFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow chan struct{}
		n := 0
		read := func() (int, error) {
			if slow != nil {
				<-slow
			}
			n++
			return n, nil
		}
		v, err := reload.New(read, func(n int) (int, error) { return n, nil }, func(int, error) {})
		if err != nil {
			t.Fatal(err)
		}
		slow = make(chan struct{})
		time.Sleep(reload.Every)
		var first sync.WaitGroup
		first.Go(func() {
			if got := v.Get(); got != 2 {
				t.Errorf("who waits gets %d, want 2", got)
			}
		})
		synctest.Wait()
		if got := v.Get(); got != 1 {
			t.Errorf("another one meanwhile gets %d, want 1", got)
		}
		close(slow)
		first.Wait()
	})
}
