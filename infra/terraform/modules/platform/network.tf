# A network for one purpose: functions reach the database by a private address.

resource "google_compute_network" "main" {
  project                 = var.project_id
  name                    = "atlas"
  auto_create_subnetworks = false

  depends_on = [google_project_service.main]
}

resource "google_compute_subnetwork" "functions" {
  project                  = var.project_id
  region                   = var.region
  name                     = "functions"
  network                  = google_compute_network.main.id
  ip_cidr_range            = "10.10.0.0/24" # direct egress takes up to two addresses an instance, and holds them for a while
  private_ip_google_access = true

  log_config {
    aggregation_interval = "INTERVAL_10_MIN"
    flow_sampling        = 0.1
    metadata             = "EXCLUDE_ALL_METADATA"
  }
}

# Nothing listens here: functions only call out.
resource "google_compute_firewall" "nothing_comes_in" {
  project   = var.project_id
  name      = "nothing-comes-in"
  network   = google_compute_network.main.id
  direction = "INGRESS"
  priority  = 65534

  source_ranges = ["0.0.0.0/0"]
  deny {
    protocol = "all"
  }
}

resource "google_compute_global_address" "database" {
  project       = var.project_id
  name          = "database"
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  prefix_length = 20
  network       = google_compute_network.main.id
}

resource "google_service_networking_connection" "database" {
  network                 = google_compute_network.main.id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [google_compute_global_address.database.name]
  deletion_policy         = "ABANDON" # the service refuses to end it for days after the last database is gone
}
