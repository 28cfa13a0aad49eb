// Draws the world and an alert's places on a Leaflet map whose options carry `tocsin`; asks no tile server.
(() => {
  const SPOT = 30;
  const NAME_ROOM = 90;
  let world;

  // Rings are hundredths of a degree: lon, lat, then differences. One that crosses 180 degrees goes on beyond it, unless
  // it closes along a pole.
  const degrees = (ring) => {
    let lon = 0, lat = 0;
    const points = [];
    for (let i = 0; i < ring.length; i += 2) {
      const step = ring[i];
      lat += ring[i + 1];
      lon += i > 0 && Math.abs(lat) < 8500 ? step - 36000 * Math.round(step / 36000) : step;
      points.push([lon / 100, lat / 100]);
    }
    return points;
  };

  const asGeoJson = (data) => ({
    type: "FeatureCollection",
    features: data.countries.map((country) => ({
      type: "Feature",
      properties: { name: country.name },
      geometry: { type: "MultiPolygon", coordinates: country.rings.map((ring) => [degrees(ring)]) },
    })),
  });

  const load = (address) => (world ??= fetch(address).then((answer) => answer.json()).then(asGeoJson));

  const text = (value) => {
    const span = document.createElement("span");
    span.textContent = value;
    return span;
  };

  // The middle of a country's largest part, which is its first: the centroid of its edges.
  const label = (feature) => {
    const ring = feature.geometry.coordinates[0][0];
    let area = 0, lon = 0, lat = 0, west = 999, east = -999;
    ring.forEach(([x, y], index) => {
      const [nextX, nextY] = ring[(index + 1) % ring.length];
      const cross = x * nextY - nextX * y;
      area += cross;
      lon += (x + nextX) * cross;
      lat += (y + nextY) * cross;
      west = Math.min(west, x);
      east = Math.max(east, x);
    });
    return { name: feature.properties.name, middle: [lat / (3 * area), lon / (3 * area)], west, east };
  };

  const nameCountries = (map, layer, labels, spots) => {
    layer.clearLayers();
    const view = map.getBounds(), frame = map.getPixelBounds();
    const taken = [];
    for (const { name, middle, west, east } of labels) {
      if (!view.contains(middle)) continue;
      const at = map.latLngToLayerPoint(middle);
      const half = L.point(name.length * 3.5, 8), centre = map.project(middle);
      const box = L.bounds(centre.subtract(half), centre.add(half));
      // Cut off at the edge, or over another name, it could not be read.
      if (!frame.contains(box) || taken.some((other) => other.intersects(box))) continue;
      const room = map.latLngToLayerPoint([middle[0], east]).x - map.latLngToLayerPoint([middle[0], west]).x;
      if (room < name.length * 7 || spots.some((spot) => spot.at && spot.at.distanceTo(at) < SPOT * 1.5)) continue;
      taken.push(box);
      const icon = L.divIcon({ className: "map-country", html: text(name), iconSize: [0, 0] });
      L.marker(middle, { icon, interactive: false, keyboard: false }).addTo(layer);
    }
  };

  // Markers that would cover each other are pushed apart, as far as to stand side by side.
  const spread = (map, spots) => {
    spots.forEach((spot) => (spot.at = map.latLngToLayerPoint([spot.lat, spot.lon])));
    const shown = spots.map((spot) => spot.at.clone());
    for (let round = 0; round < 40; round++) {
      shown.forEach((one, i) => shown.slice(i + 1).forEach((other) => {
        const away = other.subtract(one);
        const distance = Math.max(Math.hypot(away.x, away.y), 0.01);
        if (distance >= SPOT + 2) return;
        const push = (SPOT + 2 - distance) / 2;
        const [x, y] = distance < 0.02 ? [1, 0] : [away.x / distance, away.y / distance];
        one.x -= x * push; one.y -= y * push;
        other.x += x * push; other.y += y * push;
      }));
    }
    spots.forEach((spot, index) => {
      const moved = shown[index].subtract(spot.at);
      spot.at = shown[index];
      const wide = Math.max(SPOT, spot.label.length * 8 + 12);
      const anchor = [wide / 2 - moved.x, SPOT / 2 - moved.y];
      spot.marker.setIcon(L.divIcon({ className: "map-spot", html: text(spot.label), iconSize: [wide, SPOT], iconAnchor: anchor, tooltipAnchor: [moved.x, moved.y] }));
      const alone = spots.every((other, i) => i === index || shown[i].distanceTo(shown[index]) > NAME_ROOM);
      spot.marker.unbindTooltip();
      spot.marker.bindTooltip(text(spot.name), { permanent: alone, direction: "auto", offset: [SPOT / 2, 0], className: "map-name" });
    });
  };

  L.Map.addInitHook(function () {
    const given = this.options.tocsin;
    if (!given) return;
    const spots = given.spots.map((spot) => ({ ...spot }));
    this.createPane("land").style.zIndex = 200;
    if (given.path.length > 1) {
      L.polyline(given.path, { className: "map-path", interactive: false, weight: 3, dashArray: "2 8" }).addTo(this);
    }
    this.whenReady(() => {
      const points = spots.map((spot) => [spot.lat, spot.lon]);
      if (points.length) this.fitBounds(L.latLngBounds(points).pad(0.25), { maxZoom: 6, animate: false });
      spots.forEach((spot, index) => {
        const icon = L.divIcon({ className: "map-spot", html: text(spot.label) });
        spot.marker = L.marker([spot.lat, spot.lon], { icon, title: spot.title, zIndexOffset: 1000 - index }).addTo(this);
      });
      spread(this, spots);
      this.on("zoomend", () => spread(this, spots));
    });
    load(given.world).then((data) => {
      L.geoJSON(data, { pane: "land", interactive: false, style: { className: "map-land", weight: 1 } }).addTo(this);
      const labels = data.features.map(label).sort((one, other) => other.east - other.west - (one.east - one.west));
      const names = L.layerGroup().addTo(this);
      this.on("moveend", () => nameCountries(this, names, labels, spots));
      nameCountries(this, names, labels, spots);
    });
  });
})();
