package sim

// Marks are situations that a campaign of MarksSeedsMin seeds must reach: else
// it has not tried what it claims to.
var Marks = []string{
	"torn tail cut", "power cut with unsynced bytes", "journal poisoned", "store went back", "half a frame",
	"batch with a wrong digest", "admitted unverified", "own batches fetched back", "damage found at open",
	"feed met damage", "mirror repaired", "suspect log", "suspect log cleared", "segment given back",
	"fetch answered", "writer full",
}
