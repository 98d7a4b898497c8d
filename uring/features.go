package uring

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// Feature is something a kernel's io_uring can or cannot do.
type Feature uint8

// Features that our links and files use where they are.
const (
	FeatureDeferTaskrun Feature = iota
	FeatureSingleIssuer
	FeatureCoopTaskrun
	FeatureSubmitAll
	FeatureRegisteredRing
	FeatureMsgRing
	FeatureCancelAny
	FeatureBufferRing
	FeatureBufferInc
	FeatureRecvBundle
	FeatureAcceptMultishot
	FeatureRecvMultishot
	FeatureSendZC
	FeatureSendMsgZC
	FeatureSendZCReport
	featureCount
)

// featureTable: name, first kernel, and what is done without.
var featureTable = [featureCount]struct{ name, since, fallback string }{
	FeatureDeferTaskrun:    {"deferred task work", "6.1", "cooperative task work"},
	FeatureSingleIssuer:    {"single issuer", "6.0", "none needed"},
	FeatureCoopTaskrun:     {"cooperative task work", "5.19", "completions interrupt the thread"},
	FeatureSubmitAll:       {"submit all", "5.18", "what a bad submission holds back is submitted again"},
	FeatureRegisteredRing:  {"registered ring", "5.18", "the descriptor is looked up at each enter"},
	FeatureMsgRing:         {"messages between rings", "5.18", "eventfd"},
	FeatureCancelAny:       {"cancel by file or all", "5.19", "cancel by user data before close"},
	FeatureBufferRing:      {"buffer ring", "5.19", "one receive at a time into its own buffer"},
	FeatureBufferInc:       {"incremental buffers", "6.12", "plain buffer ring"},
	FeatureRecvBundle:      {"bundled receive", "6.10", "one buffer per completion"},
	FeatureAcceptMultishot: {"multishot accept", "5.19", "one accept at a time"},
	FeatureRecvMultishot:   {"multishot receive", "6.0", "one receive at a time"},
	FeatureSendZC:          {"zero-copy send", "6.0", "plain send"},
	FeatureSendMsgZC:       {"zero-copy gather send", "6.1", "plain gather send"},
	FeatureSendZCReport:    {"zero-copy usage report", "6.2", "zero-copy send stays off"},
}

func (f Feature) String() string { return featureTable[f].name }

// Since is the first kernel with it.
func (f Feature) Since() string { return featureTable[f].since }

// Fallback is what happens without it.
func (f Feature) Fallback() string { return featureTable[f].fallback }

// Features is what Probe found.
type Features struct {
	Kernel string // release
	Err    error  // why there is no ring at all; wraps ErrUnsupported
	has    [featureCount]bool
}

// Has tells whether f is there.
func (f Features) Has(feature Feature) bool { return f.Err == nil && f.has[feature] }

// String is a table for people.
func (f Features) String() string {
	var out strings.Builder
	if f.Err != nil {
		fmt.Fprintf(&out, "io_uring on kernel %s: no (%v)\n", f.Kernel, f.Err)
		return out.String()
	}
	fmt.Fprintf(&out, "io_uring on kernel %s: yes\n", f.Kernel)
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	for i, has := range f.has {
		feature := Feature(i)
		if has {
			fmt.Fprintf(table, "  %s\tyes\t\n", feature)
		} else {
			fmt.Fprintf(table, "  %s\tno\tsince %s; instead: %s\n", feature, feature.Since(), feature.Fallback())
		}
	}
	_ = table.Flush() // a Builder takes everything
	return out.String()
}
