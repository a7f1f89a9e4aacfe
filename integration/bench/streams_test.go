//go:build linux

package main

import (
	"slices"
	"testing"
)

func TestStreamsFitTheFilesOfAProcess(t *testing.T) {
	if got := full.within(20_000); !slices.Equal(got.streams, full.streams) || got.scopes != full.scopes {
		t.Errorf("with files enough: streams %v, scopes %d", got.streams, got.scopes)
	}
	got := full.within(2000)
	if want := []int{1000, 1500}; !slices.Equal(got.streams, want) || got.scopes != 1500 || got.most.streams != 1000 {
		t.Errorf("with 2,000 files: streams %v, scopes %d, most %d; want %v, 1500, 1000", got.streams, got.scopes, got.most.streams, want)
	}
	if got := full.within(10); !slices.Equal(got.streams, []int{1}) {
		t.Errorf("with hardly any files: streams %v, want one", got.streams)
	}
}
