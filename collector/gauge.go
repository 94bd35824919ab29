package collector

import (
	"bufio"
	"math"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// Family is one metric of a Snapshot: a gauge with all its series.
type Family struct {
	Name string
	// WriteText writes the family as the text format and OpenMetrics have it.
	WriteText func(*bufio.Writer) error
	// Gather returns the family for other formats.
	Gather func() *dto.MetricFamily
}

// gauge is a metric of every View: its one description.
type gauge[View any] struct {
	name, help string
	// value returns the value for v, and false if it has none.
	value func(v *View) (float64, bool)
	// labels are those besides the labels of every series.
	labels []gaugeLabel[View]
}

// gaugeLabel is a label that one gauge has.
type gaugeLabel[View any] struct {
	name  string
	value func(v *View) string
}

// families returns the metrics of views. labels returns the labels of a view, and
// block the same as labelBlock has them; it is nil if they are to be rendered each
// time.
func families[View any](gauges []gauge[View], views []View, labels func(*View) []seriesLabel, block func(*View) string) []Family {
	if block == nil {
		block = func(v *View) string { return labelBlock(labels(v)) }
	}
	all := make([]Family, len(gauges))
	for i := range gauges {
		g := &gauges[i]
		all[i] = Family{
			Name:      g.name,
			WriteText: func(w *bufio.Writer) error { return g.writeText(w, views, block) },
			Gather:    func() *dto.MetricFamily { return g.gather(views, labels) },
		}
	}
	return all
}

func (g *gauge[View]) writeText(w *bufio.Writer, views []View, block func(*View) string) error {
	// A line that does not fit costs an allocation, no more.
	const longLine = 1024
	header := "# HELP " + g.name + " " + g.help + "\n# TYPE " + g.name + " gauge\n"
	for i := range views {
		v := &views[i]
		value, ok := g.value(v)
		if !ok {
			continue
		}
		if w.Available() < longLine {
			_ = w.Flush() // it fails again at the end
		}
		b := append(w.AvailableBuffer(), header...)
		header = ""
		b = append(b, g.name...)
		b = append(b, block(v)...)
		for _, l := range g.labels {
			b = appendLabel(b, l.name, l.value(v))
		}
		b = append(b, "} "...)
		b = append(appendValue(b, value), '\n')
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// appendValue appends a value as all text formats have it.
func appendValue(b []byte, value float64) []byte {
	const exact = 1 << 53
	if whole := math.Trunc(value); whole == value && math.Abs(value) < exact {
		return strconv.AppendInt(b, int64(value), 10)
	}
	format := byte('f') // which people can read
	if size := math.Abs(value); size >= 1e21 || size < 1e-4 {
		format = 'g'
	}
	return strconv.AppendFloat(b, value, format, -1, 64)
}

func (g *gauge[View]) gather(views []View, labels func(*View) []seriesLabel) *dto.MetricFamily {
	f := &dto.MetricFamily{Name: &g.name, Help: &g.help, Type: dto.MetricType_GAUGE.Enum()}
	for i := range views {
		v := &views[i]
		value, ok := g.value(v)
		if !ok {
			continue
		}
		pairs := labels(v)
		for _, l := range g.labels {
			pairs = append(pairs, seriesLabel{l.name, l.value(v)})
		}
		m := &dto.Metric{Gauge: &dto.Gauge{Value: &value}, Label: make([]*dto.LabelPair, len(pairs))}
		for j := range pairs {
			m.Label[j] = &dto.LabelPair{Name: &pairs[j].name, Value: &pairs[j].value}
		}
		f.Metric = append(f.Metric, m)
	}
	return f
}

// countView is a number with labels.
type countView struct {
	count  int
	labels []seriesLabel
}

func countFamilies(name, help string, views []countView) []Family {
	value := func(v *countView) (float64, bool) { return float64(v.count), true }
	return families([]gauge[countView]{{name, help, value, nil}}, views, func(v *countView) []seriesLabel { return v.labels }, nil)
}

// seriesLabel is a label of a series.
type seriesLabel struct{ name, value string }

// userLabels returns fixed labels and a user's, by name.
func userLabels(user map[string]string, fixed ...seriesLabel) []seriesLabel {
	for name, value := range user {
		fixed = append(fixed, seriesLabel{name, value})
	}
	slices.SortFunc(fixed, func(a, b seriesLabel) int { return strings.Compare(a.name, b.name) })
	return fixed
}

// labelBlock returns labels as the text formats have them, without the closing
// brace.
func labelBlock(labels []seriesLabel) string {
	b := []byte{'{'}
	for _, l := range labels {
		b = appendLabel(b, l.name, l.value)
	}
	return string(b)
}

var valueEscaper = strings.NewReplacer("\\", `\\`, "\n", `\n`, `"`, `\"`)

// appendLabel appends a label to those at the end of b.
func appendLabel(b []byte, name, value string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(b, name...)
	b = append(b, `="`...)
	if strings.ContainsAny(value, "\\\n\"") { // which costs less than the replacer
		value = valueEscaper.Replace(value)
	}
	b = append(b, value...)
	return append(b, '"')
}
