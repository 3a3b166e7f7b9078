"""E2 on the wire: APER, E2AP, E2SM-KPM, and stackmac's own DCM service model. Pure functions over bytes."""
