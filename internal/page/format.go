package page

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// formatCount returns an integer with separators, as in 1,234,567.
func formatCount(n any) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// pluralize returns n with a noun, in the plural unless n is 1.
func pluralize(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if stem, ok := strings.CutSuffix(noun, "y"); ok {
		noun = stem + "ie"
	}
	return formatCount(n) + " " + noun + "s"
}

// verb returns the form of a verb for n of something.
func verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// formatSpan returns seconds in their two largest units, as in 1 h 5 min. They may
// be more than a time.Duration can represent.
func formatSpan(seconds float64) string {
	s := int64(math.Round(min(max(0, seconds), math.MaxInt64/2)))
	var span string
	switch minutes, hours := s/60, s/3600; {
	case s < 60:
		span = fmt.Sprintf("%d s", s)
	case minutes < 10:
		span = fmt.Sprintf("%d min %d s", minutes, s%60)
	case minutes < 60:
		span = fmt.Sprintf("%d min", minutes)
	case hours < 24:
		span = fmt.Sprintf("%d h %d min", hours, minutes%60)
	default:
		span = fmt.Sprintf("%d d %d h", hours/24, hours%24)
	}
	span, _, _ = strings.Cut(span, " 0 ")          // as in 1 h 0 min
	return strings.ReplaceAll(span, " ", "\u00a0") // where no line ends
}

// formatRate returns a number of objects per second.
func formatRate(perSecond float64) string {
	if perSecond > 0 && perSecond < 10 {
		return strconv.FormatFloat(perSecond, 'f', 1, 64) + "/s"
	}
	return formatCount(int64(math.Round(perSecond))) + "/s"
}

// formatRatio returns a ratio in percent, never rounded up: 100 % is all.
func formatRatio(ratio float64) string {
	if ratio > 0 && ratio < 0.01 {
		return "< 1 %"
	}
	return strconv.Itoa(int(math.Floor(ratio*100+1e-9))) + " %"
}

// timeView is a time in UTC as the page shows it.
type timeView struct {
	// Text is the time of day, and the date of another day; Full is for the
	// tooltip, and Machine for <time datetime>.
	Text, Full, Machine string
	// Ago is how long ago it was.
	Ago string
}

// formatTime returns t as seen at the time now; the zero timeView if t is zero.
func formatTime(t, now time.Time) timeView {
	if t.IsZero() {
		return timeView{}
	}
	t, now = t.UTC(), now.UTC()
	layout := time.TimeOnly
	if t.Format(time.DateOnly) != now.Format(time.DateOnly) {
		layout = "2006-01-02 15:04"
	}
	ago := "just now"
	if now.Sub(t) >= time.Second {
		ago = formatSpan(now.Sub(t).Seconds()) + " ago"
	}
	return timeView{Text: t.Format(layout), Full: t.Format(time.DateTime) + " UTC", Machine: t.Format(time.RFC3339), Ago: ago}
}

// words returns a name of the API as people read it.
func words(name any) string { return strings.ReplaceAll(fmt.Sprint(name), "_", " ") }
