"""From a merge on main to what runs in production: judged, verified, versioned, told; the engine is `bots.ship`."""
