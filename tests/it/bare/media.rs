use anyhow::Result;
use holdfast_sim::{ExpireRequest, Options, Simulator};
use wacore::download::MediaType;
use whatsapp_rust::download::DownloadParams;
use whatsapp_rust::upload::UploadOptions;

use super::PHONE;
use crate::harness::bare::BareClient;

#[tokio::test]
async fn the_bare_client_uploads_and_downloads_over_tls_until_files_expire() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let authority = folder.path().join("authority.pem");
    let sim = Simulator::start(Options { tls: Some(authority.clone()), ..Options::default() }).await?;
    let bare = BareClient::trusting(sim.ws_url(), &std::fs::read_to_string(&authority)?).await?;
    bare.linked(&sim, PHONE).await?;
    let client = bare.client();
    let upload = || Box::pin(client.upload(vec![7; 50_000], MediaType::Document, UploadOptions::new()));
    let sent = upload().await?;
    let stored = sim.media();
    assert!(stored.len() == 1 && stored[0].path == sent.direct_path && stored[0].bytes > 50_000, "{stored:?}");

    let file = DownloadParams::encrypted(
        sent.direct_path,
        &sent.media_key,
        &sent.file_sha256,
        &sent.file_enc_sha256,
        sent.file_length,
        MediaType::Document,
    );
    assert_eq!(Box::pin(client.download_from_params(&file)).await?, vec![7; 50_000]);
    // A token that has expired is asked for again, a file is not.
    assert!(sim.expire_media(ExpireRequest { auth: true, blobs: false }).auth);
    upload().await?;
    assert_eq!(sim.expire_media(ExpireRequest { auth: false, blobs: true }).blobs, 2);
    assert!(Box::pin(client.download_from_params(&file)).await.is_err());
    Ok(())
}
