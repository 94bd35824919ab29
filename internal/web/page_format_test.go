package web

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPageNumbers(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{thousands(0), "0"},
		{thousands(999), "999"},
		{thousands(1000), "1,000"},
		{thousands(1234567), "1,234,567"},
		{thousands(-1234), "-1,234"},
		{thousands(math.MaxInt64), "9,223,372,036,854,775,807"},
		{counted(0, "import", "imports"), "0 imports"},
		{counted(1, "import", "imports"), "1 import"},
		{counted(10_000, "import", "imports"), "10,000 imports"},
		{perSecond(0), "0/s"},
		{perSecond(0.04), "0.0/s"},
		{perSecond(3.42), "3.4/s"},
		{perSecond(812.4), "812/s"},
		{perSecond(25_000), "25,000/s"},
		{perSecond(1e300), "1e+300/s"},
		{percent(0), "0 %"},
		{percent(0.0001), "< 1 %"},
		{percent(0.29), "29 %"},
		{percent(0.3348), "33 %"},
		{percent(0.9999), "99 %"},
		{percent(1), "100 %"},
		{span(-time.Hour), "0 s"},
		{span(400 * time.Millisecond), "0 s"},
		{span(59*time.Second + 600*time.Millisecond), "1 min"},
		{span(104 * time.Second), "1 min 44 s"},
		{span(9*time.Minute + 59*time.Second), "9 min 59 s"},
		{span(10*time.Minute + 1*time.Second), "10 min"},
		{span(time.Hour), "1 h"},
		{span(61 * time.Minute), "1 h 1 min"},
		{span(25*time.Hour + time.Minute), "1 d 1 h"},
		{span(24 * time.Hour), "1 d"},
		{spanSeconds(104.8), "1 min 45 s"},
		{spanSeconds(1e30), "centuries"},
		{spanSeconds(math.Inf(1)), "centuries"},
		{abbreviate("short", 5), "short"},
		{abbreviate("überlang", 5), "über…"},
		{shortVersion("(version=1.2.3, branch=main, revision=abc)"), "1.2.3"},
		{shortVersion("1.2.3"), "1.2.3"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func TestPageTimes(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 50, 27, 0, time.UTC)
	for _, tt := range []struct {
		t    time.Time
		want pageTime
	}{
		{time.Time{}, pageTime{}},
		{now.Add(time.Minute), pageTime{"00:51:27", "2026-11-22T00:51:27Z", "2026-11-22 00:51:27 UTC", "just now"}},
		{
			now.Add(-time.Minute).In(time.FixedZone("", 7200)),
			pageTime{"00:49:27", "2026-11-22T00:49:27Z", "2026-11-22 00:49:27 UTC", "1 min ago"},
		},
		{now.Add(-time.Hour), pageTime{"Nov 21, 23:50", "2026-11-21T23:50:27Z", "2026-11-21 23:50:27 UTC", "1 h ago"}},
		{now.AddDate(-1, 0, 0), pageTime{"2025-11-22", "2025-11-22T00:50:27Z", "2025-11-22 00:50:27 UTC", "365 d ago"}},
	} {
		if diff := cmp.Diff(tt.want, pageTimeOf(tt.t, now)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.t, diff)
		}
	}
}

func TestShortID(t *testing.T) {
	for id, want := range map[string]shortID{
		"dc1chj1ksduerdki88b0":                 {"dc1chj", "1ksduerdk", "i88b0"},
		"b6e2f7a0-51c9-4d7e-9f0a-2c1d8e4b7a35": {"b6e2f7", "a0-51c9-4d7e-9f0a-2c1d8e4", "b7a35"},
		"twelve-chars":                         {Head: "twelve-chars"},
		"thirteen-char":                        {"thirte", "en", "-char"},
		"":                                     {},
	} {
		got := shorten(id)
		if got != want {
			t.Errorf("%s: %+v, want %+v", id, got, want)
		}
		if got.Head+got.Middle+got.Tail != id {
			t.Errorf("%s: copied as %s", id, got.Head+got.Middle+got.Tail)
		}
	}
}
