package observe

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/claudefs/repl/engine"
)

// Source is what is shown: an *engine.Engine, open or closed.
type Source interface {
	Status() engine.Status
	Counters() engine.Counters
}

// Collector is a prometheus.Collector over one engine. Any goroutine may use it.
type Collector struct {
	source Source
	descs  []*prometheus.Desc // as in catalogue, then as in histograms
}

// New returns a collector that asks source at each scrape.
func New(source Source) *Collector {
	c := &Collector{source: source}
	for i := range catalogue {
		m := &catalogue[i]
		c.descs = append(c.descs, prometheus.NewDesc(m.name, m.help, m.labels, nil))
	}
	for i := range histograms {
		m := &histograms[i]
		c.descs = append(c.descs, prometheus.NewDesc(m.name, m.help, m.labels, nil))
	}
	return c
}

// Describe tells the whole catalogue.
func (c *Collector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		descs <- d
	}
}

// Collect takes one snapshot and tells what is known.
func (c *Collector) Collect(metrics chan<- prometheus.Metric) {
	s := snapshot{c.source.Status(), c.source.Counters()}
	for i := range catalogue {
		m := &catalogue[i]
		m.take(&s, func(value float64, labels ...string) {
			metrics <- prometheus.MustNewConstMetric(c.descs[i], m.kind, value, labels...)
		})
	}
	for i := range histograms {
		m, desc := &histograms[i], c.descs[len(catalogue)+i]
		m.take(&s, func(h *engine.Histogram, labels ...string) { metrics <- m.metric(desc, h, labels) })
	}
}

// Handler serves the metrics of source and of more, and of nothing else in the process, in
// a registry of its own.
func Handler(source Source, more ...prometheus.Collector) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(New(source))
	registry.MustRegister(more...)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}
