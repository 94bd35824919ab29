package web

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// thousands returns n with separators, as in 1,234,567.
func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	head := len(digits) % 3
	parts := make([]string, 0, len(digits)/3+1)
	if head > 0 {
		parts = append(parts, digits[:head])
	}
	for i := head; i < len(digits); i += 3 {
		parts = append(parts, digits[i:i+3])
	}
	return sign + strings.Join(parts, ",")
}

// counted returns n and what there is n of.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(int64(n)) + " " + many
}

// span returns a duration as people say it, in its two largest units.
func span(d time.Duration) string {
	seconds := int64(max(0, d).Round(time.Second) / time.Second)
	part := func(n int64, unit string) string {
		if n == 0 {
			return ""
		}
		return " " + strconv.FormatInt(n, 10) + " " + unit
	}
	var s string
	switch minutes, hours := seconds/60, seconds/3600; {
	case seconds < 60:
		return strconv.FormatInt(seconds, 10) + " s"
	case minutes < 10:
		s = part(minutes, "min") + part(seconds%60, "s")
	case minutes < 60:
		s = part(minutes, "min")
	case hours < 24:
		s = part(hours, "h") + part(minutes%60, "min")
	default:
		s = part(hours/24, "d") + part(hours%24, "h")
	}
	return s[1:]
}

// spanSeconds returns a span given in seconds, which may be absurdly many.
func spanSeconds(s float64) string {
	if s >= math.MaxInt64/float64(time.Second) {
		return "centuries"
	}
	return span(time.Duration(s * float64(time.Second)))
}

// perSecond returns a number of objects in a second.
func perSecond(objects float64) string {
	switch {
	case objects > 0 && objects < 10:
		return strconv.FormatFloat(objects, 'f', 1, 64) + "/s"
	case objects >= 1e15:
		return strconv.FormatFloat(objects, 'g', 3, 64) + "/s"
	}
	return thousands(int64(math.Round(objects))) + "/s"
}

// percent returns a ratio, never rounded up: 100 % is all.
func percent(ratio float64) string {
	if ratio > 0 && ratio < 0.01 {
		return "< 1 %"
	}
	return strconv.Itoa(int(math.Floor(ratio*100+1e-9))) + " %"
}

// pageTime is a time as the page shows it.
type pageTime struct {
	// Text is the time of day, or the date where that is another one; Machine
	// is for machines, and Full is for those who want to know exactly.
	Text, Machine, Full string
	// Ago is how long ago it was.
	Ago string
}

// pageTimeOf returns t as seen from now; the zero pageTime if t is zero.
func pageTimeOf(t, now time.Time) pageTime {
	if t.IsZero() {
		return pageTime{}
	}
	t, now = t.UTC(), now.UTC()
	layout := "15:04:05"
	switch {
	case t.Year() != now.Year():
		layout = time.DateOnly
	case t.YearDay() != now.YearDay():
		layout = "Jan 2, 15:04"
	}
	return pageTime{
		Text:    t.Format(layout),
		Machine: t.Format(time.RFC3339),
		Full:    t.Format("2006-01-02 15:04:05 UTC"),
		Ago:     agoFrom(now, t),
	}
}

// agoFrom returns how long before now t was.
func agoFrom(now, t time.Time) string {
	if now.Sub(t) < time.Second {
		return "just now"
	}
	return span(now.Sub(t)) + " ago"
}

// shortID is an import ID in three parts: only the first and the last are
// shown, but all of them are there to be copied and read out. An xid begins
// with its time and ends with a counter, so it takes both ends to tell two apart.
type shortID struct{ Head, Middle, Tail string }

func shorten(id string) shortID {
	const head, tail = 6, 5
	if len(id) <= head+tail+1 {
		return shortID{Head: id}
	}
	return shortID{id[:head], id[head : len(id)-tail], id[len(id)-tail:]}
}

// abbreviate returns the first runes of s, with an ellipsis if there are more.
func abbreviate(s string, runes int) string {
	if utf8.RuneCountInString(s) <= runes {
		return s
	}
	return string([]rune(s)[:runes-1]) + "…"
}

// shortVersion returns the version alone of what version.Info returns.
func shortVersion(info string) string {
	if rest, ok := strings.CutPrefix(info, "(version="); ok {
		info, _, _ = strings.Cut(rest, ",")
	}
	return info
}
