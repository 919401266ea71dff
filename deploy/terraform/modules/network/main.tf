resource "google_compute_network" "this" {
  project                 = var.project_id
  name                    = var.name
  description             = "Between the services of the credit-risk stack"
  auto_create_subnetworks = false
  routing_mode            = "REGIONAL"
}

# Cloud Run's instances are here. With private access they reach Google's APIs, and services that answer within the project
# alone, without an address on the internet; without NAT they reach nothing else.
resource "google_compute_subnetwork" "this" {
  project                  = var.project_id
  region                   = var.region
  name                     = "${var.name}-run"
  network                  = google_compute_network.this.id
  ip_cidr_range            = var.subnet_cidr
  private_ip_google_access = true

  log_config {
    aggregation_interval = "INTERVAL_10_MIN"
    flow_sampling        = 0.1
    metadata             = "INCLUDE_ALL_METADATA"
  }
}

# Said once more than needed, and logged: nobody opens a connection into this network.
resource "google_compute_firewall" "closed" {
  project       = var.project_id
  name          = "${var.name}-closed"
  description   = "Nothing comes in from anywhere"
  network       = google_compute_network.this.id
  direction     = "INGRESS"
  priority      = 65534
  source_ranges = ["0.0.0.0/0"]

  deny { protocol = "all" }
  log_config { metadata = "INCLUDE_ALL_METADATA" }
}

# --- Cloud SQL, by private services access ----------------------------------------------------------------------------

resource "google_compute_global_address" "services" {
  project       = var.project_id
  name          = "${var.name}-services"
  network       = google_compute_network.this.id
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  prefix_length = 20
}

resource "google_service_networking_connection" "services" {
  network                 = google_compute_network.this.id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [google_compute_global_address.services.name]
}

# --- MongoDB Atlas, by private service connect --------------------------------------------------------------------------

resource "google_compute_address" "mongodb" {
  count = length(var.mongodb_attachments)

  project      = var.project_id
  region       = var.region
  name         = "${var.name}-mongodb-${count.index}"
  subnetwork   = google_compute_subnetwork.this.id
  address_type = "INTERNAL"
}

resource "google_compute_forwarding_rule" "mongodb" {
  count = length(var.mongodb_attachments)

  project               = var.project_id
  region                = var.region
  name                  = "${var.name}-mongodb-${count.index}"
  network               = google_compute_network.this.id
  ip_address            = google_compute_address.mongodb[count.index].id
  target                = var.mongodb_attachments[count.index]
  load_balancing_scheme = "" # an endpoint of private service connect has none
}

# --- the internet, where it is wanted -----------------------------------------------------------------------------------

resource "google_compute_router" "internet" {
  count = var.internet ? 1 : 0

  project = var.project_id
  region  = var.region
  name    = "${var.name}-internet"
  network = google_compute_network.this.id
}

resource "google_compute_router_nat" "internet" {
  count = var.internet ? 1 : 0

  project                            = var.project_id
  region                             = var.region
  name                               = "${var.name}-internet"
  router                             = google_compute_router.internet[0].name
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "ALL_SUBNETWORKS_ALL_IP_RANGES"

  log_config {
    enable = true
    filter = "ERRORS_ONLY"
  }
}
