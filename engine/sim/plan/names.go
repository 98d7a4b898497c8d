package plan

// ImageAge is how old an image is that is put back, in spans of its item.
const ImageAge = 5

// ThirdSite is the place of the one that may join late, and be removed.
const ThirdSite = 2

// SitesMax is how many sites a world has at most.
const SitesMax = 3

// CopiesMax counts a clone besides: a second copy of one site, see package sim.
const CopiesMax = SitesMax + 1

// SiteNames are the sites of a world, of which the first one writes, and the clone.
var SiteNames = [CopiesMax]string{"site-a", "site-b", "site-c", "clone"}
